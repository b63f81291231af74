//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sluicegate/sluice/deploy"
)

const (
	maxNodes    = 9
	natsServers = 3
)

// Offsets of ports from the base. The first of a kind has number 1.
const (
	nodePort      = 0
	adminPort     = 100
	natsPort      = 200
	natsRoutePort = 300
	redisPort     = 400
	gatewayPort   = 500 // with -port 0
)

// A member is a program of the cluster.
type member struct {
	name  string
	args  []string
	ready func(context.Context) error // asks it once
	stop  syscall.Signal              // ends it in order
	grace time.Duration               // how long that may take

	url, admin string // for people; admin of nodes alone
}

// A plan says what runs, and where.
type plan struct {
	o        *options
	dir      string
	ephemera bool       // dir goes when all have ended
	groups   [][]member // in the order in which they start; each is ready before the next
	gateway  string     // URL
}

// newPlan finds the programs, the ports and a directory, and writes the configurations.
func newPlan(ctx context.Context, o *options, stderr io.Writer) (_ *plan, err error) {
	nginx, redis, err := programs()
	if err != nil {
		return nil, err
	}
	if err := o.takePorts(); err != nil {
		return nil, err
	}
	p := &plan{o: o, gateway: fmt.Sprintf("http://127.0.0.1:%d", o.port)}
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if o.sluice == "" {
		fmt.Fprintln(stderr, "cluster: building sluice")
		if o.sluice, err = build(ctx, p.dir); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	state := []member{p.redis(redis)}
	for i := 1; i <= natsServers; i++ {
		m, err := p.nats(self, i)
		if err != nil {
			return nil, err
		}
		state = append(state, m)
	}
	var nodes []member
	for i := 1; i <= o.nodes; i++ {
		nodes = append(nodes, p.node(i))
	}
	front, err := p.nginx(nginx)
	if err != nil {
		return nil, err
	}
	p.groups = [][]member{state, nodes, {front}}
	return p, nil
}

// programs finds what isn't part of this module.
func programs() (nginx, redis string, err error) {
	paths := map[string]string{}
	var missing []string
	for _, pkg := range []string{"nginx", "redis-server"} { // Debian's packages have the programs' names
		path, err := exec.LookPath(pkg)
		if err != nil && pkg == "nginx" {
			path, err = exec.LookPath("/usr/sbin/nginx") // which is in few people's PATH
		}
		if err != nil {
			missing = append(missing, pkg)
		}
		paths[pkg] = path
	}
	if missing != nil {
		return "", "", fmt.Errorf("needs %s (on Debian and Ubuntu: apt-get install %s)", strings.Join(missing, " and "), strings.Join(missing, " "))
	}
	return paths["nginx"], paths["redis-server"], nil
}

// takePorts finds free ports where none are said, and makes sure that the others are free.
func (o *options) takePorts() error {
	if o.base != 0 {
		if o.port == 0 {
			o.port = o.base + gatewayPort
		}
		return o.checkPorts()
	}
	given := o.port
	for range 100 {
		o.base = 20_000 + 1000*rand.IntN(12) + rand.IntN(400) // where systems take none for outgoing connections
		if o.port = given; given == 0 {
			o.port = o.base + gatewayPort
		}
		if o.checkPorts() == nil {
			return nil
		}
	}
	return o.checkPorts()
}

func (o *options) checkPorts() error {
	ports := []int{o.port, o.base + redisPort + 1}
	for i := 1; i <= o.nodes; i++ {
		ports = append(ports, o.base+nodePort+i, o.base+adminPort+i)
	}
	for i := 1; i <= natsServers; i++ {
		ports = append(ports, o.base+natsPort+i, o.base+natsRoutePort+i)
	}
	slices.Sort(ports)
	for _, port := range ports {
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			return fmt.Errorf("port %d can't be had: %w (-port and -base take others)", port, err)
		}
		l.Close()
	}
	return nil
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func (p *plan) makeDir() (err error) {
	if p.o.dir == "" {
		p.ephemera = true
		if p.dir, err = os.MkdirTemp("", "sluice-cluster-"); err != nil {
			return err
		}
		return os.Chmod(p.dir, 0o711) // workers of nginx run as somebody else if it was started by root
	}
	if p.dir, err = filepath.Abs(p.o.dir); err != nil {
		return err
	}
	return os.MkdirAll(p.dir, 0o711)
}

// close removes what nobody asked to keep.
func (p *plan) close() {
	if p.ephemera {
		os.RemoveAll(p.dir)
	}
}

// build compiles the program of this tree.
func build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "sluice")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", program, "github.com/sluicegate/sluice/cmd/sluice")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building sluice (start this in its repository, or name a program with -sluice): %w\n%s", err, out)
	}
	return program, nil
}

// sub makes a directory for a member.
func (p *plan) sub(name string) (string, error) {
	dir := filepath.Join(p.dir, name)
	return dir, os.MkdirAll(dir, 0o711)
}

func (p *plan) redis(program string) member {
	port := p.o.base + redisPort + 1
	return member{
		name: "redis", url: "redis://" + address(port),
		args: []string{program, "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no", "--dir", p.dir,
			"--loglevel", "warning", "--daemonize", "no"},
		ready: func(ctx context.Context) error { return greeted(ctx, address(port), "PING\r\n", "+PONG") },
		stop:  syscall.SIGTERM, grace: 5 * time.Second,
	}
}

func (p *plan) nats(self string, i int) (member, error) {
	name := fmt.Sprintf("nats-%d", i)
	dir, err := p.sub(name)
	if err != nil {
		return member{}, err
	}
	var routes []string
	for j := 1; j <= natsServers; j++ {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+address(p.o.base+natsRoutePort+j)))
	}
	port := p.o.base + natsPort + i
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf(`server_name: %q
listen: %q
jetstream {store_dir: %q, sync_interval: always}
cluster {name: sluice, listen: %q, routes: [%s]}
reconnect_error_reports: 60
`, name, address(port), dir, address(p.o.base+natsRoutePort+i), strings.Join(routes, ", "))
	return member{
		name: name, url: "nats://" + address(port),
		args:  []string{self, natsCommand, conf},
		ready: func(ctx context.Context) error { return greeted(ctx, address(port), "", "INFO ") },
		stop:  syscall.SIGTERM, grace: 5 * time.Second,
	}, os.WriteFile(conf, []byte(text), 0o600)
}

func (p *plan) node(i int) member {
	var urls []string
	for j := 1; j <= natsServers; j++ {
		urls = append(urls, "nats://"+address(p.o.base+natsPort+j))
	}
	name := fmt.Sprintf("store-%d", i)
	admin := "http://" + address(p.o.base+adminPort+i)
	return member{
		name: name, url: "http://" + address(p.o.base+nodePort+i), admin: admin,
		args: append([]string{p.o.sluice, "store", "--listen", address(p.o.base + nodePort + i), "--admin", address(p.o.base + adminPort + i),
			"--data-dir", filepath.Join(p.dir, name), "--objects", filepath.Join(p.dir, "objects"),
			"--redis", "redis://" + address(p.o.base+redisPort+1), "--nats", strings.Join(urls, ",")}, p.o.storeArgs...),
		ready: func(ctx context.Context) error { return answers(ctx, admin+"/readyz") },
		stop:  syscall.SIGTERM, grace: 20 * time.Second, // a node gives what it has begun 15
	}
}

// nginx uses the configuration of deploy/, at another port and in front of the nodes that there are.
func (p *plan) nginx(program string) (member, error) {
	dir, err := p.sub("nginx")
	if err != nil {
		return member{}, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	var nodes strings.Builder
	for i := 1; i <= p.o.nodes; i++ {
		fmt.Fprintf(&nodes, "server %s max_fails=1 fail_timeout=1s;\n", address(p.o.base+nodePort+i))
	}
	const listen = "listen 4000 "
	if strings.Count(deploy.Nginx, listen) != 1 {
		return member{}, fmt.Errorf("deploy/nginx.conf has not one %q", listen)
	}
	text := strings.Replace(deploy.Nginx, listen, "listen "+address(p.o.port)+" ", 1)
	return member{
		name: "nginx", url: p.gateway,
		args:  []string{program, "-e", "stderr", "-p", dir, "-c", conf},
		ready: func(ctx context.Context) error { return greeted(ctx, address(p.o.port), "", "") },
		stop:  syscall.SIGQUIT, grace: 5 * time.Second,
	}, errors.Join(os.WriteFile(filepath.Join(dir, "nodes.conf"), []byte(nodes.String()), 0o644), os.WriteFile(conf, []byte(text), 0o644))
}

// announce says what runs where, and what to try.
func (p *plan) announce(w io.Writer, pids map[string]int) {
	fmt.Fprintf(w, "The cluster is running. Try:\n\n")
	fmt.Fprintf(w, "  curl -i '%s/object-storage?userId=1' -H 'Content-Type: application/json' \\\n", p.gateway)
	fmt.Fprintf(w, "    -d '{\"objectId\":\"1cbs5\",\"sizeInByte\":1000000,\"bucketName\":\"bucket-1\",\"fileName\":\"f1.png\"}'\n")
	fmt.Fprintf(w, "  curl -i '%s/quota?userId=1'\n\n", p.gateway)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for i := range p.groups {
		for _, m := range p.groups[len(p.groups)-1-i] { // what clients meet first comes first
			admin := ""
			if m.admin != "" {
				admin = "admin " + m.admin
			}
			fmt.Fprintf(tw, "  %s\t%s\tprocess %d\t%s\n", m.name, m.url, pids[m.name], admin)
		}
	}
	tw.Flush()
	kept := "It is kept."
	if p.ephemera {
		kept = "It goes when the cluster stops; -dir keeps it."
	}
	fmt.Fprintf(w, "\nData and process numbers (NAME.pid) are in %s. %s\nctrl-C stops all of them.\n", p.dir, kept)
}
