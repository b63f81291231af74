package market_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluicegate/sluice/internal/market"
	"github.com/sluicegate/sluice/internal/problem"
)

// description is openapi.yaml, and which of its answers were seen.
type description struct {
	doc     map[string]any
	schemas *jsonschema.Compiler

	mu   sync.Mutex
	seen map[string]bool // METHOD path status
}

const descriptionURL = "file:///openapi.json"

var readDescription = sync.OnceValues(func() (*description, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		return nil, err
	}
	d := &description{doc: doc.(map[string]any), schemas: jsonschema.NewCompiler(), seen: map[string]bool{}}
	return d, d.schemas.AddResource(descriptionURL, doc)
})

// at follows a path into the document, through references. It returns where it leads, as a JSON pointer.
func (d *description) at(path ...string) (value any, pointer string) {
	value, pointer = d.doc, "#"
	for _, name := range path {
		value = value.(map[string]any)[name]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		for object, ok := value.(map[string]any); ok; object, ok = value.(map[string]any) {
			ref, is := object["$ref"].(string)
			if !is || len(object) > 1 {
				break
			}
			value, pointer = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		if value == nil {
			return nil, pointer
		}
	}
	return value, pointer
}

// pathOf is the path of the document that a request's path is an instance of.
func pathOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if strings.HasPrefix(path, "/bids/") {
		return "/bids/{id}"
	}
	return path
}

// check holds an answer against the document.
func (d *description) check(method, path string, status int, head http.Header, body string) error {
	method, path = strings.ToLower(method), pathOf(path)
	operation := []string{"paths", path, method, "responses", strconv.Itoa(status)}
	response, pointer := d.at(operation...)
	if response == nil {
		operation[4] = "default"
		if response, pointer = d.at(operation...); response == nil || status == 200 {
			response, pointer = d.at("components", "responses", "Other")
		}
	}
	d.mu.Lock()
	d.seen[strings.ToUpper(method)+" "+path+" "+strconv.Itoa(status)] = true
	d.mu.Unlock()
	kind, _, err := mime.ParseMediaType(head.Get("Content-Type"))
	if err != nil {
		return err
	}
	object := response.(map[string]any)
	content, _ := object["content"].(map[string]any)
	if content[kind] == nil {
		return fmt.Errorf("%s %s %d: Content-Type %s, want one of %v", method, path, status, kind, slices.Collect(maps.Keys(content)))
	}
	pointer += "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema"
	return d.validate(pointer, kind, body)
}

// validate holds a body against the schema at a pointer.
func (d *description) validate(pointer, kind, body string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, err := d.schemas.Compile(descriptionURL + pointer)
	if err != nil {
		return err
	}
	var value any = body
	if strings.HasSuffix(kind, "json") {
		if value, err = jsonschema.UnmarshalJSON(strings.NewReader(body)); err != nil {
			return err
		}
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	return nil
}

// Each route is in the document, each operation of the document is a route, and the server serves the document.
func TestDescriptionHasTheRoutes(t *testing.T) {
	d, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	var routes, described []string
	for _, r := range market.Routes() {
		routes = append(routes, r.Method+" "+pathOf(r.Path))
	}
	paths, _ := d.at("paths")
	for path, item := range paths.(map[string]any) {
		for method := range item.(map[string]any) {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("the routes are %q, openapi.yaml has %q", routes, described)
	}
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, t.TempDir()).get("/openapi.yaml").is(t, 200, strings.TrimSuffix(string(text), "\n"))
}

// The types of problems that the document lists are all those that the market makes, and nothing else.
func TestDescriptionHasTheProblems(t *testing.T) {
	d, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, typ := range []*problem.Type{
		problem.BadRequest, problem.NotFound, problem.RequestTimeout, problem.URITooLong, problem.ExpectationFailed, problem.HeaderTooLarge,
		problem.Internal, problem.NotImplemented, problem.InvalidOrder, problem.InvalidParameter, problem.UnknownUser, problem.UnknownBid,
		problem.MethodNotAllowed, problem.TotalOutOfRange, problem.UnsupportedMediaType, problem.KeyReused, problem.MarketFull,
		problem.MarketUnavailable, problem.OutcomeUnknown, problem.TooManyStreams,
	} {
		want = append(want, typ.URI())
	}
	listed, _ := d.at("components", "schemas", "Problem", "properties", "type", "enum")
	var got []string
	for _, uri := range listed.([]any) {
		got = append(got, uri.(string))
	}
	if !slices.Equal(got, want) {
		t.Errorf("openapi.yaml lists %q, want %q", got, want)
	}
}

// Every answer that the document has is one that a node gives, by what this test asks; all tests hold what they are answered against it.
func TestDescriptionIsTrue(t *testing.T) {
	d, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	n := serve(t, t.TempDir())
	n.buy("u1", 100, 3)
	n.buy("u2", 1, 1)
	n.sell(7)
	for _, path := range []string{"/buy", "/sell"} {
		n.ask("POST", path, "{}", "Content-Type", "application/json")
		n.ask("POST", path, "{}", "Content-Type", "text/plain")
	}
	n.buy("u1", 1, 1, "Idempotency-Key", "k")
	n.buy("u1", 2, 1, "Idempotency-Key", "k")
	n.sell(1, "Idempotency-Key", "k")
	n.buy("u1", 1<<64-1, 1)
	n.sell(1<<64 - 1)
	for _, path := range []string{"/allocation", "/balance", "/bids"} {
		n.get(path + "?username=u1")
		n.get(path)
		n.get(path + "?username=nobody")
	}
	n.get("/bids?username=u1&limit=1")
	for _, path := range []string{"/book", "/allocations"} {
		n.get(path)
		n.get(path + "?limit=1")
		n.get(path + "?limit=0")
	}
	n.get("/stats")
	n.get("/openapi.yaml")
	n.ask("DELETE", "/bids/1", "")
	n.ask("DELETE", "/bids/1", "")
	n.ask("DELETE", "/bids/x", "")
	n.get("/events?after=x")
	s := n.listen("?after=0")
	if event := s.next(); event.name != "fill" {
		t.Errorf("an event is %+v, want a fill", event)
	} else if err := d.validate("#/components/schemas/Fill", "json", event.data); err != nil {
		t.Error(err)
	}
	s.close()
	if err := n.market.Close(); err != nil {
		t.Fatal(err)
	}
	n.buy("u1", 1, 1).problem(t, 503, "market-unavailable", "had no effect", "another node")
	n.sell(1)
	n.ask("DELETE", "/bids/1", "")
	for _, path := range []string{"/allocation?username=u1", "/balance?username=u1", "/bids?username=u1", "/book", "/stats", "/events", "/allocations"} {
		n.get(path).problem(t, 503, "market-unavailable")
	}

	paths, _ := d.at("paths")
	for path, item := range paths.(map[string]any) {
		for method := range item.(map[string]any) {
			responses, _ := d.at("paths", path, method, "responses")
			for status := range responses.(map[string]any) {
				key := strings.ToUpper(method) + " " + path + " " + status
				if status != "default" && !d.seen[key] {
					t.Errorf("openapi.yaml has %s, which was never answered", key)
				}
			}
		}
	}
}

// The examples of the document are what they exemplify.
func TestDescriptionsExamples(t *testing.T) {
	d, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	n := serve(t, t.TempDir())
	for _, path := range []string{"/buy", "/sell"} {
		example, _ := d.at("paths", path, "post", "requestBody", "content", "application/json", "example")
		body, err := json.Marshal(example)
		if err != nil {
			t.Fatal(err)
		}
		if a := n.ask("POST", path, string(body), "Content-Type", "application/json"); a.status != 200 {
			t.Errorf("%s with %s: %d %s", path, body, a.status, a.body)
		}
		_, pointer := d.at("paths", path, "post", "requestBody", "content", "application/json")
		if err := d.validate(pointer+"/schema", "json", string(body)); err != nil {
			t.Error(err)
		}
	}
}
