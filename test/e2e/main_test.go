// Package e2e_test starts the real program as a process, puts it in front of real servers, and talks to it over
// sockets. Nothing of the program is linked in: what a test sees is what an operator and a client see.
//
// Every process listens on a port of its own choice and is ended by the test that started it. Nothing sleeps to be
// right: tests wait for conditions, for as long as patience allows, and assert no timing.
//
// These variables make the suite do more, or do it differently:
//
//	SLUICE_E2E_FULL=1   large bodies are 1 GiB instead of 256 MiB (128 MiB with the race detector), and 100 clients share
//	                    one of 100 MiB instead of 50 one of 20 MiB
//	SLUICE_SOAK=1       the soak tests send 1,000,000 requests each; run them with -run Soak -timeout 60m -v, that of
//	                    shared answers with -race, too
//	                    and the market is killed 5,000 times, cut off from power 100 times, and asked for 20,000 histories: -run Market -timeout 120m
//	SLUICE_BIN=PATH     test this program instead of building one
//	CI=true             a peer that is not installed is a failure, and not a reason to skip
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryEnv holds the path of the program under test.
const binaryEnv = "SLUICE_BIN"

// programsEnv holds the directory for programs that tests build; it goes when they have ended.
const programsEnv = "SLUICE_E2E_PROGRAMS"

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds the program once, with the race detector if the tests have it, and runs the tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv(programsEnv, dir)
	if os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	binary := filepath.Join(dir, "sluice")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/sluicegate/sluice/cmd/sluice")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the program:", err)
		return 1
	}
	os.Setenv(binaryEnv, binary)
	os.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE")) // a second by default, for each of many processes
	return m.Run()
}
