package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/sluicegate/sluice/test/redistest"
)

// page is the dashboard of a gateway in a real browser.
type page struct {
	t   *testing.T
	ctx context.Context
}

// browse opens the dashboard.
func browse(t *testing.T, admin string) *page {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(peer(t, "chromium")), chromedp.NoSandbox, chromedp.WindowSize(1280, 1600))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(stop)
	p := &page{t, ctx}
	p.visit(admin + "/")
	return p
}

func (p *page) visit(url string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(url)); err != nil {
		p.t.Fatal(err)
	}
}

// eval is the value of an expression on the page.
func (p *page) eval(expression string) any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// click clicks an element, wherever it is by then.
func (p *page) click(selector string) {
	p.t.Helper()
	p.eval("document.querySelector(" + quoted(selector) + ").click()")
}

// fill writes into a field.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.eval("document.querySelector(" + quoted(selector) + ").value = " + quoted(text))
}

// until waits until an expression on the page is true.
func (p *page) until(what, expression string) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the page says\n%v", p.eval("document.body.innerText"))
		}
	}()
	await(p.t, what, func() bool { return p.eval(expression) == true })
}

// quoted is s as a literal of the page's scripts.
func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// cells is the text of a row of a table, whose first cell is name; null if there is none.
func cells(table, name string) string {
	return fmt.Sprintf("(() => { const r = [...document.querySelectorAll('#%s tbody tr')].find(r => r.cells[0].innerText === %s); return r ? [...r.cells].map(c => c.innerText).join('|') : ''; })()",
		table, quoted(name))
}

const limitedConfig = `
identify: {sources: [{header: X-User}, {address: {}}]}
limits: {client: {rate: 1/day, burst: 2, per: client}}
upstreams: {app: {targets: [%q], max_in_flight: 7}}
routes: [{path: /*, upstream: app, limits: [client]}]
`

// What the page shows is what the admin API says; who is limited is on it; and a client cannot put anything but text there.
func TestDashboard(t *testing.T) {
	evil := `<img src=x onerror=window.pwned=1>`
	g := serve(t, fmt.Sprintf(limitedConfig, says(t, "app")))
	p := browse(t, g.admin)
	p.until("the page is live", "document.getElementById('state-text').innerText === 'live'")
	for range 5 {
		get(t, g.url+"/", "X-User", "alice")
		get(t, g.url+"/", "X-User", evil)
	}
	p.until("alice is on the page", cells("clients", "alice")+".includes('0 of 3')")
	p.until("so is a client with a strange name", cells("clients", evil)+" !== ''")
	var live struct {
		Clients []struct {
			Name           string
			Count, Refused int
		}
		Upstreams []struct {
			Name        string
			MaxInFlight int `json:"max_in_flight"`
		}
	}
	if err := json.Unmarshal([]byte(get(t, g.admin+"/api/v1/live").body), &live); err != nil {
		t.Fatal(err)
	}
	for _, c := range live.Clients {
		if c.Count != 5 || c.Refused != 2 {
			t.Errorf("the API says %+v, expected 5 requests of which 2 were refused", c)
		}
		p.until("the page says so, too", fmt.Sprintf("%s.split('|').slice(2, 4).join() === '%d,%d'", cells("clients", c.Name), c.Count, c.Refused))
	}
	if len(live.Clients) != 2 || len(live.Upstreams) != 1 || live.Upstreams[0].MaxInFlight != 7 {
		t.Errorf("the API says %+v", live)
	}
	p.until("the upstream's bound", cells("upstreams", "app")+".includes('0 of 7')")
	p.until("the chart has a line", "document.querySelector('#chart-outcomes path.passed').getAttribute('d').length > 20")
	if got := p.eval("window.pwned === undefined && document.querySelectorAll('main img').length === 0"); got != true {
		t.Error("a client's name is taken for HTML")
	}
	p.until("what is off says how to switch it on", "document.querySelector('[data-part=market] pre').innerText.includes('from: market')")
}

// The page goes on when the node comes back, and shows the new one.
func TestDashboardReconnects(t *testing.T) {
	g := serve(t, inFront([]string{says(t, "app")}))
	p := browse(t, g.admin)
	p.until("the page is live", "document.getElementById('state-text').innerText === 'live'")
	address := strings.TrimPrefix(g.admin, "http://")
	g.signal(syscall.SIGKILL)
	g.endedBy(syscall.SIGKILL)
	p.until("the page says that the node is away", "document.getElementById('state').className === 'lost'")
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	writeFile(t, path, "listen: 127.0.0.1:0\nadmin: {listen: "+address+"}\n"+inFront([]string{says(t, "app")}))
	again := startGateway(t, "serve", "-c", path)
	p.until("the page is live again, and shows the new node", "document.getElementById('node').innerText.includes("+quoted(again.url)+")")
	p.until("the page is live again", "document.getElementById('state-text').innerText === 'live'")
}

// With a token the page asks for it, and lets nobody in without.
func TestDashboardToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	writeFile(t, path, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, token: s3cret}\n"+inFront([]string{says(t, "app")}))
	g := startGateway(t, "serve", "-c", path)
	p := browse(t, g.admin)
	enter := func(token string) {
		p.fill("#ask-fields input", token)
		p.click("#ask-go")
	}
	p.until("the page asks for the token", "document.getElementById('ask').open")
	enter("wrong")
	p.until("a wrong one is refused", "document.getElementById('ask-error').innerText.includes('token is missing or wrong')")
	if shown := p.eval("document.getElementById('node').innerText"); shown != "" {
		t.Errorf("without the token the page shows %q", shown)
	}
	enter("s3cret")
	p.until("the right one lets in", "document.getElementById('state-text').innerText === 'live'")
}

// An operator reloads the configuration, and gives a client a limit of its own, from the page. Another site's page can do neither.
func TestDashboardActs(t *testing.T) {
	redis := redistest.Start(t)
	config := "redis: redis://" + redis.Addr + "\n" + strings.Replace(limitedConfig, "per: client", "per: client, mode: strict", 1)
	g := serve(t, fmt.Sprintf(config, says(t, "app")))
	p := browse(t, g.admin)
	get(t, g.url+"/", "X-User", "alice")
	p.until("alice is on the page", cells("clients", "alice")+" !== ''")
	p.click("button[data-client=alice]")
	p.until("the dialog is open", "document.getElementById('ask').open && document.querySelector('#ask-fields select').value === 'client'")
	p.fill("#ask-fields input[name=rate]", "5 apples")
	p.click("#ask-go")
	p.until("a rate that is none is refused", "document.getElementById('ask-error').innerText.includes('rate')")
	p.fill("#ask-fields input[name=rate]", "500/s")
	p.fill("#ask-fields input[name=burst]", "9")
	p.click("#ask-go")
	p.until("the dialog is closed", "!document.getElementById('ask').open")
	if set := get(t, g.admin+"/api/v1/limits/overrides").body; !strings.Contains(set, `"client": "alice"`) || !strings.Contains(set, `"rate": "500/s"`) {
		t.Errorf("the overrides are %s", set)
	}

	g.rewrite(fmt.Sprintf(strings.Replace(config, "max_in_flight: 7", "max_in_flight: 8", 1), says(t, "app")))
	p.click("#reload")
	p.click("#ask-go")
	p.until("the new configuration is in force", cells("upstreams", "app")+".includes('0 of 8')")

	other := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<title>elsewhere</title>") })
	p.visit(other)
	g.rewrite(fmt.Sprintf(config, says(t, "app")))
	p.eval("fetch(" + quoted(g.admin+"/api/v1/reload") + ", {method: 'POST', mode: 'no-cors'}).then(() => document.title = 'sent', () => document.title = 'sent')")
	p.until("the other page has sent its request", "document.title === 'sent'")
	status := get(t, g.admin+"/api/v1/live").body
	if !strings.Contains(status, `"max_in_flight": 8`) {
		t.Error("a page of another site has reloaded the configuration")
	}
}

// A dead letter is on the page, and is sent again from there.
func TestDashboardRetries(t *testing.T) {
	var mended atomic.Bool
	app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	g := serve(t, fmt.Sprintf("data_dir: %q\nupstreams: {app: {targets: [%q]}}\nroutes: [{path: /later, methods: [POST], upstream: app, async: {}}]\n", t.TempDir(), app))
	p := browse(t, g.admin)
	accepted := do(t, "POST", g.url+"/later", "hello")
	accepted.expect(t, 202, "queued")
	var job struct{ ID string }
	if err := json.Unmarshal([]byte(accepted.body), &job); err != nil {
		t.Fatal(err)
	}
	p.until("the dead letter is on the page", cells("dead", job.ID)+".includes('the upstream answered 422')")
	mended.Store(true)
	p.click("button[data-job='" + job.ID + "']")
	await(t, "the job is done", func() bool { return strings.Contains(get(t, g.admin+"/api/v1/jobs/"+job.ID).body, `"state": "done"`) })
	p.until("the page has no dead letter any more", "document.querySelector('#dead tbody').innerText.includes('no dead letters')")
}
