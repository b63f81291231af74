package config

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Redis is where nodes share what one of them could lose without harm. In a file it is a URL:
// redis://USER:PASSWORD@HOST:PORT/DB, where only the host must be there; rediss:// is Redis with TLS.
type Redis struct {
	Address  string // host:port
	User     string // "" is Redis's default user
	Password string // "" asks for no authentication; no way of printing a Redis shows it
	DB       int    // number of the database
	TLS      bool   // the server's certificate must be valid for the host
}

// String returns the URL without user and password.
func (r *Redis) String() string {
	scheme := "redis"
	if r.TLS {
		scheme = "rediss"
	}
	return scheme + "://" + r.Address + "/" + strconv.Itoa(r.DB)
}

// GoString is String.
func (r *Redis) GoString() string { return r.String() }

// MarshalJSON writes what String returns.
func (r *Redis) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

const defaultRedisPort = "6379"

// ParseRedis reads the URL of a Redis as it stands in a file. Its errors do not show what they are about, which may be a password.
func ParseRedis(text string) (*Redis, error) { return parseRedis(text) }

func parseRedis(text string) (*Redis, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" {
		return nil, errors.New("expected a URL redis://host:port/db or rediss://user:password@host:port/db")
	}
	if strings.ContainsAny(text, "?#") {
		return nil, errors.New("expected neither a query nor a fragment; in a password write ? as %3F and # as %23")
	}
	db, err := redisDB(u.Path)
	if err != nil {
		return nil, err
	}
	if !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port(), 1) {
		return nil, errors.New("expected a host name or address, and a port from 1 to 65535 if there is one")
	}
	port := u.Port()
	if port == "" {
		port = defaultRedisPort
	}
	r := &Redis{Address: net.JoinHostPort(u.Hostname(), port), DB: db, TLS: u.Scheme == "rediss"}
	if u.User != nil {
		r.User = u.User.Username()
		r.Password, _ = u.User.Password()
		if r.Password == "" {
			return nil, errors.New("a user without a password, expected user:password@, or :password@ for the default user")
		}
	}
	return r, nil
}

// redisDB reads the path of the URL: the number of a database, 0 without one.
func redisDB(path string) (int, error) {
	if path == "" || path == "/" {
		return 0, nil
	}
	db, err := strconv.ParseUint(path[1:], 10, 16)
	if err != nil {
		return 0, errors.New("expected the number of a database after the host, 0 to 65535, as in redis://127.0.0.1:6379/0")
	}
	return int(db), nil
}
