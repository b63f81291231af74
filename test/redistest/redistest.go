// Package redistest runs a real redis-server for a test.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for the server to answer. It bounds a failing test, not a passing one.
const patience = 60 * time.Second

// Server is a Redis on a port of its own, empty at the start and whenever it is started again. Not safe for concurrent use.
type Server struct {
	Addr string // host:port, the same after a restart

	t    testing.TB
	args []string
	cmd  *exec.Cmd
}

// Start runs a server until the test ends; args go to redis-server. Where it is not installed the test is skipped, or fails
// if the environment says CI=true.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed, and CI=true")
		}
		t.Skip("redis-server is not installed")
	}
	port := freePort(t)
	s := &Server{Addr: "127.0.0.1:" + port, t: t}
	s.args = append([]string{program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	s.Restart()
	return s
}

// freePort finds a port that nobody listens on.
func freePort(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// Restart starts the server again after Kill, with nothing in it, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	var output strings.Builder
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &output, &output
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !s.answers(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("redis-server does not answer:\n%s", output.String())
		}
	}
}

// answers reports whether the server talks to a client.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// Kill ends the server with SIGKILL and waits for its end.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.cmd.Wait()
	s.cmd = nil
}

// Pause stops the server with SIGSTOP: it accepts connections and answers nothing.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("redis-server: %v: %v", sig, err)
	}
}
