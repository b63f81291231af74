package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is the unit of /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// CPU is the processor time that the process and its children (nginx's workers) have used, in user and kernel mode. It is
// read from /proc, so only on Linux. Unlike requests per second it hardly depends on what else the machine is doing.
func CPU(cmd *exec.Cmd) time.Duration {
	pids := []string{strconv.Itoa(cmd.Process.Pid)}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid))
	if err == nil {
		pids = append(pids, strings.Fields(string(children))...)
	}
	var ticks int64
	for _, pid := range pids {
		ticks += ticksOf(pid)
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

func ticksOf(pid string) (ticks int64) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	Fatal(err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // behind the name, which may hold spaces
	const utime, stime = 11, 12
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		Fatal(err)
		ticks += n
	}
	return ticks
}

// Busy is the processor time that the process has used, without its children, to the nanosecond. That of threads that have ended is not in it, so
// it is for short stretches of programs that keep theirs, as those in Go do.
func Busy(cmd *exec.Cmd) (busy time.Duration) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", cmd.Process.Pid))
	Fatal(err)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		Fatal(err)
		running, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(running, 10, 64)
		Fatal(err)
		busy += time.Duration(n)
	}
	return busy
}

// Resident is the memory of the process that is in the machine's, now and at its highest, in MiB.
func Resident(cmd *exec.Cmd) (now, highest float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	Fatal(err)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kB, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		Fatal(err)
		if name == "VmRSS" {
			now = kB / 1024
		} else {
			highest = kB / 1024
		}
	}
	return now, highest
}
