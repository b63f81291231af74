package config

import "time"

// Cache says which answers of a route are kept, and for how long: RFC 9111, within these bounds.
type Cache struct {
	// MaxBytes bounds what the kept answers take in memory, 64KiB to 1TiB. Default 64MiB.
	MaxBytes Size `yaml:"max_bytes"`
	// MaxObject bounds what one of them takes, up to MaxBytes. Default 0: an eighth of MaxBytes.
	MaxObject Size `yaml:"max_object"`
	// MaxTTL is how long an answer is fresh at most, 1ms to 24h. Default 1h.
	MaxTTL Duration `yaml:"max_ttl"`
	// MinTTL is how long an answer that states its freshness is fresh at least, up to MaxTTL. Default 0: as it states.
	MinTTL Duration `yaml:"min_ttl"`
	// DefaultTTL is how long an answer is fresh that states nothing, up to MaxTTL. Default 0: not at all.
	DefaultTTL Duration `yaml:"default_ttl"`
	// Heuristic lets an answer that states nothing be fresh for a tenth of its age. Default false.
	Heuristic bool `yaml:"heuristic"`
	// Shared keeps the answers in Config.Redis, too, for all nodes. Default false.
	Shared bool `yaml:"shared"`
}

func (c *Cache) defaults() { *c = Cache{MaxBytes: 64 * MiB, MaxTTL: time.Hour} }

func (c *Cache) validate(at *node, r *report) {
	before := len(r.errs)
	r.sizeBetween(at.get("max_bytes"), c.MaxBytes, 64*KiB, 1<<40)
	r.durationBetween(at.get("max_ttl"), c.MaxTTL, time.Millisecond, 24*time.Hour)
	if len(r.errs) > before {
		return
	}
	if c.MaxObject > c.MaxBytes {
		r.errorf(at.get("max_object"), "%v is more than max_bytes, %v: expected at most that", c.MaxObject, c.MaxBytes)
	}
	r.atMostMaxTTL(at.get("min_ttl"), c.MinTTL, c.MaxTTL)
	r.atMostMaxTTL(at.get("default_ttl"), c.DefaultTTL, c.MaxTTL)
}

func (r *report) atMostMaxTTL(at *node, d, most Duration) {
	if d > most {
		r.errorf(at, "%v is longer than max_ttl, %v: expected at most that", d, most)
	}
}

// validateCaches reports caches that are to be shared where there is nothing to share them through.
func (c *Config) validateCaches(at *node, r *report) {
	for i, t := range c.Routes {
		if t == nil || t.Cache == nil || !t.Cache.Shared || c.Redis != nil || at.find("redis") != nil {
			continue
		}
		r.errorf(at.get("routes").item(i).get("cache").get("shared"), "nothing to share it through: expected the key redis at the top")
	}
}
