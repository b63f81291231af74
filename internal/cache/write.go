package cache

import (
	"hash/maphash"
	"net/url"
	"strings"

	"github.com/sluicegate/sluice/internal/http1"
)

// Write is a change of resources that a request made: what is stored about them is not to be used any more.
type Write struct {
	resources [3][]byte
	n         int
}

// WriteOf reads which resources a request changed, by the answer to it: RFC 9111 section 4.4. These are the one it was
// sent to, and those of the same host that Location and Content-Location name, if its method is not safe and its
// answer no error. ok is false if there are none.
func WriteOf(req *http1.Request, resp *http1.Response) (w Write, ok bool) {
	if safe(req) || resp.Status < 200 || resp.Status >= 400 {
		return w, false
	}
	w.add(appendResource(nil, req.Host, req.Target))
	for _, name := range [...]string{"location", "content-location"} {
		if value, found := resp.Get(name); found {
			if resource := sameHost(req, string(value)); resource != nil {
				w.add(resource)
			}
		}
	}
	return w, true
}

func (w *Write) add(resource []byte) {
	w.resources[w.n] = resource
	w.n++
}

// safe reports whether the method only reads, RFC 9110 section 9.2.1. A method nobody knows is not safe.
func safe(req *http1.Request) bool {
	switch string(req.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// sameHost is the resource that a reference names, relative to the request's, nil if it is of another host.
func sameHost(req *http1.Request, reference string) []byte {
	ref, err := url.Parse(reference)
	if err != nil || ref.Opaque != "" {
		return nil
	}
	if ref.Host != "" && normalHost(ref.Host) != normalHost(string(req.Host)) {
		return nil
	}
	base, err := url.ParseRequestURI(string(req.Target))
	if err != nil {
		return nil
	}
	base.Scheme, base.Host = "http", string(req.Host)
	return appendResource(nil, req.Host, []byte(base.ResolveReference(ref).RequestURI()))
}

func normalHost(host string) string {
	host = strings.ToLower(host)
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}

// Invalidate drops what is stored about the resources of a write, and sees to it that no call that began before is stored
// or shared after. A write may concern several routes: tell each route's cache, and the second level.
func (c *Cache) Invalidate(w *Write) {
	for _, resource := range w.resources[:w.n] {
		hash := maphash.Bytes(c.seed, resource)
		c.fence.write(hash, func() {
			if c.store != nil {
				c.store.drop(hash)
			}
		})
	}
}
