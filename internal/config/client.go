package config

import "time"

// ClientTimeouts bound how long a client may take. Each is more than 0.
type ClientTimeouts struct {
	// Header is the time from the first byte of a request's head to its last. Default 10s.
	Header Duration `yaml:"header"`
	// Idle is how long a connection may stay open between two requests. Default 60s.
	Idle Duration `yaml:"idle"`
	// Body is the longest pause while a request's body is read. Default 30s.
	Body Duration `yaml:"body"`
	// Write is the longest pause while an answer is written. Default 30s.
	Write Duration `yaml:"write"`
}

func (t *ClientTimeouts) defaults() {
	*t = ClientTimeouts{Header: 10 * time.Second, Idle: 60 * time.Second, Body: 30 * time.Second, Write: 30 * time.Second}
}

func (t *ClientTimeouts) validate(at *node, r *report) {
	r.positive(at.get("header"), t.Header)
	r.positive(at.get("idle"), t.Idle)
	r.positive(at.get("body"), t.Body)
	r.positive(at.get("write"), t.Write)
}
