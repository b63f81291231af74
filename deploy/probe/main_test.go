package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbe(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	if err := probe([]string{server.URL}); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	for name, args := range map[string][]string{"503": {server.URL}, "nothing": nil, "two": {server.URL, server.URL}, "no URL": {"::"}} {
		if probe(args) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	server.Close()
	if probe([]string{server.URL}) == nil {
		t.Error("nobody listens, and there is no error")
	}
}
