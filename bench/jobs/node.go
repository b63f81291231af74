package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicegate/sluice/bench/harness"
)

// request is what is sent to become a job.
const request = `{"report":"monthly","account":1234567,"format":"pdf"}`

const requestType = "application/json"

// A node is a running sluice that accepts jobs.
type node struct {
	server *exec.Cmd
	url    string // to which requests are sent that become jobs
	admin  string // URL
}

// serve starts a gateway with one async route.
func serve(b *harness.Bench, sluice, name, origin string, workers int) node {
	listen, admin := harness.FreeAddr(), harness.FreeAddr()
	config := b.Write(name+".yaml", fmt.Appendf(nil, `
listen: %s
admin: {listen: %s, pprof: true}
data_dir: %s
shutdown_timeout: 1s
upstreams:
  origin: {targets: ["http://%s"]}
routes:
  - {path: /reports, methods: [POST], upstream: origin, async: {workers: %d, timeout: 1h}}
`, listen, admin, filepath.Join(b.Dir, name), origin, workers))
	return node{b.Start(listen, sluice, "serve", "-c", config), "http://" + listen + "/reports", "http://" + admin}
}

// ready returns when the node is.
func (n node) ready() {
	for range 400 {
		resp, err := http.Get(n.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	harness.Fatal(fmt.Errorf("%s is not ready", n.admin))
}

// count is how many jobs of the node are in a state.
func (n node) count(state string) (jobs int) {
	resp, err := http.Get(n.admin + "/metrics")
	harness.Fatal(err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(name, "sluice_jobs{") && strings.Contains(name, `state="`+state+`"`) {
			v, err := strconv.ParseFloat(value, 64)
			harness.Fatal(err)
			jobs += int(v)
		}
	}
	return jobs
}

// send has so many jobs accepted, over so many connections.
func (n node) send(client *fasthttp.HostClient, jobs, conns int) {
	var all sync.WaitGroup
	for i := range conns {
		share := jobs / conns
		if i < jobs%conns {
			share++
		}
		all.Go(func() { n.sendAll(client, share) })
	}
	all.Wait()
}

func (n node) sendAll(client *fasthttp.HostClient, jobs int) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod("POST")
	req.SetRequestURI(n.url)
	req.Header.SetContentType(requestType)
	req.SetBodyString(request)
	for range jobs {
		harness.Fatal(client.Do(req, resp))
		if resp.StatusCode() != http.StatusAccepted {
			harness.Fatal(fmt.Errorf("a request was answered %d %s", resp.StatusCode(), resp.Body()))
		}
	}
}
