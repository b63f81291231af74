package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// peer finds a program that is not part of this project. Where it is not installed the test is skipped, but in CI.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s must be installed in CI: %v", name, err)
		}
		t.Skipf("SKIPPED: %s is not installed", name)
	}
	return path
}

// curl runs curl and returns what it writes.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer(t, "curl"), append([]string{"-sS", "--max-time", "60"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return stdout.String()
}

// site is a directory with a file of 3 MiB, file.bin.
func site(t *testing.T) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	content, err := io.ReadAll(noise(5, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file.bin"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, content
}

// inFrontOf runs `sluice serve --upstream`.
func inFrontOf(t *testing.T, url string) *gateway {
	t.Helper()
	return startGateway(t, "serve", "--upstream", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
}

func TestCurl(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	dir, content := site(t)
	_, origin := startOrigin(t)
	g := inFrontOf(t, origin)
	file := filepath.Join(dir, "file.bin")
	want := fmt.Sprintf(`"bytes":%d,"sha256":%q`, len(content), sum(string(content)))
	for _, args := range [][]string{
		{"-T", file},                  // waits for 100 Continue
		{"-T", file, "-H", "Expect:"}, // does not
		{"-T", file, "-H", "Transfer-Encoding: chunked"},             // in chunks
		{"-X", "POST", "--data-binary", "@" + file, "-H", "Expect:"}, // as curl posts
	} {
		if got := curl(t, append(args, g.url+"/up")...); !strings.Contains(got, want) {
			t.Errorf("curl %v: %s, expected %s", args, got, want)
		}
	}
	if got := curl(t, "-0", g.url+"/old"); !strings.Contains(got, `"path":"/old"`) {
		t.Errorf("with HTTP/1.0: %s", got)
	}
	got := curl(t, "-w", "%{num_connects} ", "-o", os.DevNull, "-o", os.DevNull, g.url+"/a", g.url+"/b")
	if got != "1 0 " {
		t.Errorf("two requests made %q connections, expected one for both", got)
	}
	if got := curl(t, "-I", g.url+"/?bytes=77"); !strings.Contains(got, "200 OK\r\n") || !strings.Contains(got, "Content-Length: 77\r\n") {
		t.Errorf("HEAD: %s", got)
	}
}

func TestPythonBehind(t *testing.T) {
	t.Parallel()
	peer(t, "curl")
	dir, content := site(t)
	p := startCommand(t, peer(t, "python3"), "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", dir)
	port := p.awaitOutput(&p.stdout, `port (\d+)`)[1]
	g := inFrontOf(t, "http://127.0.0.1:"+port)
	for range 3 {
		if got := curl(t, g.url+"/file.bin"); got != string(content) {
			t.Errorf("got %d bytes that are not those of the file", len(got))
		}
	}
	if got := curl(t, g.url+"/"); !strings.Contains(got, "file.bin") {
		t.Errorf("the listing: %s", got)
	}
	get(t, g.url+"/absent").expect(t, 404, "File not found")
	if got := curl(t, "-I", g.url+"/file.bin"); !strings.Contains(got, "Content-Length: 3145728\r\n") {
		t.Errorf("HEAD: %s", got)
	}
}

func TestNginxBehind(t *testing.T) {
	t.Parallel()
	dir, content := site(t)
	g := inFrontOf(t, startNginx(t, dir))
	r := get(t, g.url+"/file.bin")
	r.expect(t, 200, string(content))
	get(t, g.url+"/file.bin", "If-None-Match", r.Header.Get("Etag")).expect(t, 304, "")
	part := get(t, g.url+"/file.bin", "Range", "bytes=1000-1999")
	if part.StatusCode != 206 || part.body != string(content[1000:2000]) {
		t.Errorf("a range: %s with %d bytes", part.Status, len(part.body))
	}
	c := dial(t, g.addr())
	for range 200 { // more than nginx keeps a connection for, as configured below
		c.send("HEAD /file.bin HTTP/1.1\r\nHost: e2e\r\n\r\n")
		if r := c.read("HEAD"); r.StatusCode != 200 || r.ContentLength != 3<<20 {
			t.Fatalf("HEAD: %s with a length of %d", r.Status, r.ContentLength)
		}
	}
}

// startNginx serves dir. nginx cannot be told to find a free port, so that a few are tried.
func startNginx(t *testing.T, dir string) string {
	t.Helper()
	path := peer(t, "nginx")
	for range 5 {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		own := t.TempDir()
		config := filepath.Join(own, "nginx.conf")
		writeFile(t, config, fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr warn; events {}
http { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d;
scgi_temp_path %[1]s/e; server { listen %[2]s; root %[3]s; keepalive_requests 10; } }`, own, addr, dir))
		p := startCommand(t, path, "-p", own, "-c", config, "-e", "stderr")
		await(t, "nginx to listen", func() bool {
			nc, err := net.Dial("tcp", addr)
			if err == nil {
				nc.Close()
			}
			return err == nil || !p.running()
		})
		if p.running() {
			return "http://" + addr
		}
		if !strings.Contains(p.stderr.String(), "Address already in use") {
			t.Fatalf("nginx: %s", p.stderr.String())
		}
	}
	t.Fatal("nginx found no free port")
	return ""
}

// freeAddr is an address that nobody listens on, for the moment.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
