// Package harness runs comparisons of servers on one machine: it starts them, drives them with wrk in turn, and
// reports medians. Two servers are always measured alternately in one run, because a shared machine's speed drifts.
package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Fatal prints the error and ends the benchmark.
func Fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Need ends the benchmark with the missing programs and how to get them.
func Need(programs ...string) {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		Fatal(fmt.Errorf("needs %s (on Debian: apt-get install %s)", strings.Join(missing, ", "), strings.Join(missing, " ")))
	}
}

// Bench owns a directory and the processes it starts.
type Bench struct {
	Dir   string
	procs []*exec.Cmd
}

// New makes a bench with a directory of its own. Close ends it.
func New() *Bench {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	Fatal(err)
	Fatal(os.Chmod(dir, 0o755)) // nginx's workers may run as another user
	return &Bench{Dir: dir}
}

// Close ends the processes and removes the directory.
func (b *Bench) Close() {
	for _, p := range b.procs {
		terminate(p)
	}
	for _, p := range b.procs {
		p.Wait()
	}
	os.RemoveAll(b.Dir)
}

// End ends one of the processes before Close does.
func (b *Bench) End(p *exec.Cmd) {
	terminate(p)
	p.Wait()
	b.procs = slices.DeleteFunc(b.procs, func(other *exec.Cmd) bool { return other == p })
}

// Wake lets a process go on that is stopped.
func (b *Bench) Wake(p *exec.Cmd) { Fatal(p.Process.Signal(syscall.SIGCONT)) }

// terminate asks a process to end, which one that is stopped would not hear.
func terminate(p *exec.Cmd) {
	p.Process.Signal(syscall.SIGTERM)
	p.Process.Signal(syscall.SIGCONT)
}

// FreeAddr is a loopback address that nobody listens on now.
func FreeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	Fatal(err)
	defer ln.Close()
	return ln.Addr().String()
}

// Write puts a file into the bench's directory and returns its path.
func (b *Bench) Write(name string, content []byte) string {
	path := filepath.Join(b.Dir, name)
	Fatal(os.MkdirAll(filepath.Dir(path), 0o755))
	Fatal(os.WriteFile(path, content, 0o644))
	return path
}

// Build compiles one of the module's commands and returns the program's path.
func (b *Bench) Build(pkg string) string {
	out := filepath.Join(b.Dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Stderr = os.Stderr
	Fatal(cmd.Run())
	return out
}

// Start runs a server until Close, and waits until it listens on addr. Its output is shown if it does not.
func (b *Bench) Start(addr, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	Fatal(cmd.Start())
	b.procs = append(b.procs, cmd)
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return cmd
		}
		time.Sleep(25 * time.Millisecond)
	}
	Fatal(fmt.Errorf("%s does not listen on %s:\n%s", program, addr, output.String()))
	return nil
}

// Nginx runs an nginx whose http block holds the given text.
func (b *Bench) Nginx(name, addr, http string) *exec.Cmd {
	conf := fmt.Sprintf(`daemon off; pid %[1]s/%[2]s.pid; error_log %[1]s/%[2]s.log crit;
worker_processes %[3]d; worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path %[1]s/%[2]s-body; proxy_temp_path %[1]s/%[2]s-proxy; fastcgi_temp_path %[1]s/%[2]s-f;
  uwsgi_temp_path %[1]s/%[2]s-u; scgi_temp_path %[1]s/%[2]s-s;
  %[4]s
}
`, b.Dir, name, runtime.NumCPU(), http)
	path := b.Write(name+".conf", []byte(conf))
	return b.Start(addr, "nginx", "-c", path, "-e", filepath.Join(b.Dir, name+".log"))
}

// Has reports whether a program that a comparison can do without is installed, and says so if not.
func Has(program string) bool {
	_, err := exec.LookPath(program)
	if err != nil {
		fmt.Printf("%s is not installed: it is left out (on Debian: apt-get install %s)\n", program, strings.TrimSuffix(program, "d"))
	}
	return err == nil
}

// Haproxy runs a haproxy in front of an origin, with a thread for each processor.
func (b *Bench) Haproxy(addr, origin string) *exec.Cmd {
	conf := fmt.Sprintf(`global
  maxconn 4096
  nbthread %d
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 30s
  option forwardfor
  http-reuse always
frontend clients
  bind %s
  default_backend origin
backend origin
  server origin %s
`, runtime.NumCPU(), addr, origin)
	return b.Start(addr, "haproxy", "-db", "-f", b.Write("haproxy.cfg", []byte(conf)))
}

// Varnish runs a varnishd in front of an origin, that keeps every answer for ttl and nothing longer.
func (b *Bench) Varnish(addr, origin string, ttl time.Duration) *exec.Cmd {
	host, port, err := net.SplitHostPort(origin)
	Fatal(err)
	vcl := b.Write("default.vcl", fmt.Appendf(nil, `vcl 4.1;
backend origin { .host = "%s"; .port = "%s"; }
sub vcl_backend_response { set beresp.ttl = %ds; set beresp.grace = 0s; }
`, host, port, int(ttl.Seconds())))
	// The children run as another user, whose directory it must be: -j none leaves them what we are.
	return b.Start(addr, "varnishd", "-F", "-j", "none", "-n", filepath.Join(b.Dir, "varnish"), "-a", addr, "-f", vcl, "-s", "malloc,64m")
}

// Versions describes the machine and the programs of a comparison.
func Versions(programs ...string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d CPUs, %s, %s", runtime.NumCPU(), cpuModel(), runtime.Version())
	for _, p := range programs {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		flag := "-v"
		if p == "varnishd" {
			flag = "-V"
		}
		out, _ := exec.CommandContext(ctx, p, flag).CombinedOutput()
		cancel()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		fmt.Fprintf(&s, ", %s", strings.TrimPrefix(line, "nginx version: "))
	}
	return s.String()
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	text, _ := io.ReadAll(f)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
