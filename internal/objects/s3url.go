package objects

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// S3Config says where an S3-compatible service is. ParseS3 makes one of a URL.
type S3Config struct {
	Endpoint                        string // host or host:port
	Plain                           bool   // http, not https
	AccessKey, SecretKey, SessionID string // SessionID is the token of temporary credentials, or ""
	Bucket                          string
	Region                          string // "" asks the service
	Prefix                          string // starts the name of every object; "" or something that ends with /
	Style                           Style

	// Transport replaces the client's own, which takes 256 connections and trusts the system's certificates.
	Transport http.RoundTripper
}

// Style says where a request names the bucket.
type Style int

// The styles of requests.
const (
	StyleAuto   Style = iota // in the host name at Amazon and others that are known to want it, in the path elsewhere
	StylePath                // https://host/bucket/key
	StyleDomain              // https://bucket.host/key
)

// form is what a URL looks like, for whoever got it wrong. Errors never show the URL that was given: a secret is in it.
const form = "https://KEY:SECRET@HOST:PORT/BUCKET?region=…&prefix=…&path_style=true"

// Variables of the environment that stand in for what the URL leaves out, as in Amazon's own programs.
const (
	envKey           = "AWS_ACCESS_KEY_ID"
	envSecret        = "AWS_SECRET_ACCESS_KEY"
	envSession       = "AWS_SESSION_TOKEN"
	envRegion        = "AWS_REGION"
	envDefaultRegion = "AWS_DEFAULT_REGION"
)

// ParseS3 reads https://KEY:SECRET@HOST:PORT/BUCKET?region=R&prefix=P&path_style=true. Scheme (http or https), host and bucket must be there. What
// is special in a URL is escaped, as in %2F for a slash in a secret. Without KEY:SECRET the credentials are those of AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and without region, it is that of AWS_REGION or AWS_DEFAULT_REGION; env looks them up, as
// [os.LookupEnv] does.
func ParseS3(raw string, env func(string) (string, bool)) (S3Config, error) {
	c, err := parseS3(raw, func(name string) string { v, _ := env(name); return v })
	if err != nil {
		return S3Config{}, fmt.Errorf("the URL of the S3 service: %w", err)
	}
	return c, nil
}

func parseS3(raw string, env func(string) string) (S3Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error's text quotes what it could not read: it may be a piece of the secret.
		return S3Config{}, fmt.Errorf("expected %s, where a character of the secret that is special in a URL is escaped, as in %%2F for /", form)
	}
	c := S3Config{Endpoint: u.Host, Plain: u.Scheme == "http", Bucket: strings.Trim(u.Path, "/")}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Hostname() == "", u.Fragment != "":
		return S3Config{}, fmt.Errorf("expected %s", form)
	case c.Bucket == "" || strings.Contains(c.Bucket, "/"):
		return S3Config{}, fmt.Errorf("expected the name of one bucket as its path, in %s", form)
	}
	if err := checkPort(u.Port()); err != nil {
		return S3Config{}, err
	}
	if err := c.credentials(u.User, env); err != nil {
		return S3Config{}, err
	}
	if err := c.options(u.RawQuery); err != nil {
		return S3Config{}, err
	}
	for _, name := range []string{envRegion, envDefaultRegion} {
		if c.Region == "" {
			c.Region = env(name)
		}
	}
	return c, nil
}

func checkPort(port string) error {
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("expected a port of 1 to 65535, in %s", form)
	}
	return nil
}

// credentials takes both from one place: half a pair of each fits nothing.
func (c *S3Config) credentials(user *url.Userinfo, env func(string) string) error {
	if user != nil {
		secret, _ := user.Password()
		if user.Username() == "" || secret == "" {
			return fmt.Errorf("expected KEY:SECRET before the @, or neither, in %s", form)
		}
		c.AccessKey, c.SecretKey = user.Username(), secret
		return nil
	}
	c.AccessKey, c.SecretKey, c.SessionID = env(envKey), env(envSecret), env(envSession)
	if c.AccessKey == "" || c.SecretKey == "" {
		return fmt.Errorf("it has no KEY:SECRET, so %s and %s must be set", envKey, envSecret)
	}
	return nil
}

func (c *S3Config) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("expected %s", form)
	}
	for name, all := range values {
		if len(all) > 1 {
			return fmt.Errorf("expected %s once", name)
		}
		switch name {
		case "region":
			c.Region = all[0]
		case "prefix":
			c.Prefix, err = cleanPrefix(all[0])
		case "path_style":
			c.Style, err = styleOf(all[0])
		default:
			err = fmt.Errorf("expected region, prefix or path_style, got %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func styleOf(value string) (Style, error) {
	switch value {
	case "true":
		return StylePath, nil
	case "false":
		return StyleDomain, nil
	default:
		return 0, fmt.Errorf("path_style: expected true or false, got %q", value)
	}
}

// maxPrefix leaves room for a key in the 1024 bytes that S3 allows for a name.
const maxPrefix = 512

// cleanPrefix ends a prefix with a slash.
func cleanPrefix(prefix string) (string, error) {
	trimmed := strings.Trim(prefix, "/")
	if trimmed == "" {
		return "", nil
	}
	parts := strings.Split(trimmed, "/")
	if len(trimmed) > maxPrefix || slices.Contains(parts, "") || slices.Contains(parts, ".") || slices.Contains(parts, "..") || !plainPrefix(trimmed) {
		return "", fmt.Errorf("prefix: expected at most %d letters, digits and characters of -_./, without empty parts, . and .., got %q", maxPrefix, prefix)
	}
	return trimmed + "/", nil
}

func plainPrefix(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_./", r)
	})
}

// String is the URL without credentials, for logs.
func (c S3Config) String() string {
	u := url.URL{Scheme: "https", Host: c.Endpoint, Path: "/" + c.Bucket + "/" + c.Prefix}
	if c.Plain {
		u.Scheme = "http"
	}
	return u.String()
}

// check finds what DialS3 can't do with.
func (c *S3Config) check() error {
	host := c.Endpoint
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "" || c.Bucket == "" || c.AccessKey == "" || c.SecretKey == "" {
		return errors.New("expected an endpoint, a bucket, an access key and a secret key")
	}
	return s3utils.CheckValidBucketName(c.Bucket)
}
