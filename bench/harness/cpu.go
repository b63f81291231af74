package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// ticksPerSecond is the unit of /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// CPU is the processor time that the process has used, in user and kernel mode. It is read from /proc, so only on Linux. Unlike
// requests per second it hardly depends on what else the machine is doing.
func CPU(cmd *exec.Cmd) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	Fatal(err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // behind the name, which may hold spaces
	const utime, stime = 11, 12
	var ticks int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		Fatal(err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
