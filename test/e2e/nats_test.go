package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// natsServer builds the NATS server that go.mod names, once. Distributions are years behind, and servers before 2.10 can neither sync before they
// answer nor hold a stream's metadata.
var natsServer = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(programsEnv), "nats-server")
	out, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

// A natsCluster is NATS servers with JetStream, each a process.
type natsCluster struct {
	t       *testing.T
	program string
	ports   []int
	configs []string // paths
	servers []*process
}

// startNATS starts n servers, which are a cluster if they are several.
func startNATS(t *testing.T, n int) *natsCluster {
	t.Helper()
	program, err := natsServer()
	if err != nil {
		t.Fatal(err)
	}
	c := &natsCluster{t: t, program: program, servers: make([]*process, n)}
	var clusterPorts []int
	var routes []string
	for range n {
		c.ports, clusterPorts = append(c.ports, fixedPort(t)), append(clusterPorts, fixedPort(t))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", clusterPorts[len(clusterPorts)-1]))
	}
	for i := range n {
		dir := t.TempDir()
		config := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%d\njetstream {store_dir: %q, sync_interval: always, max_file_store: 1GB}\n",
			i, c.ports[i], filepath.Join(dir, "store"))
		if n > 1 {
			config += fmt.Sprintf("cluster {name: c, listen: 127.0.0.1:%d, routes: [%s]}\n", clusterPorts[i], strings.Join(routes, ", "))
		}
		c.configs = append(c.configs, filepath.Join(dir, "nats.conf"))
		writeFile(t, c.configs[i], config)
		c.start(i)
	}
	return c
}

// fixedPort returns a free port that the system gives to nobody by itself, so that a server that is started again finds it free.
func fixedPort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	p := startCommand(c.t, c.program, "-c", c.configs[i])
	c.t.Cleanup(func() { p.signal(syscall.SIGKILL) }) // it takes its time to leave a cluster in order
	c.servers[i] = p
	c.servers[i].awaitOutput(&c.servers[i].stderr, `Server is ready`)
}

func (c *natsCluster) kill(i int) {
	c.t.Helper()
	c.servers[i].signal(syscall.SIGKILL)
	c.servers[i].endedBy(syscall.SIGKILL)
}

// url is for a node, which tries the servers in an order of its own.
func (c *natsCluster) url() string {
	var all []string
	for _, port := range c.ports {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	return strings.Join(all, ",")
}
