package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
