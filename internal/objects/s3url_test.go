package objects_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/objects"
)

func TestParseS3(t *testing.T) {
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "envkey", "AWS_SECRET_ACCESS_KEY": "envsecret", "AWS_SESSION_TOKEN": "token"}
	with := func(more ...string) map[string]string {
		env := map[string]string{}
		for k, v := range keys {
			env[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	for _, tc := range []struct {
		url  string
		env  map[string]string
		want objects.S3Config
	}{
		{"https://k:s@host:9000/bkt", nil, objects.S3Config{Endpoint: "host:9000", AccessKey: "k", SecretKey: "s", Bucket: "bkt"}},
		{"https://k:s@host/bkt/", nil, objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt"}},
		{"http://k:s@[::1]:9000/bkt", nil, objects.S3Config{Endpoint: "[::1]:9000", Plain: true, AccessKey: "k", SecretKey: "s", Bucket: "bkt"}},
		{"https://k:a%2Fb%2Bc%40@host/bkt", nil, objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "a/b+c@", Bucket: "bkt"}},
		{"https://k:s@host/bkt?region=r1&prefix=x&path_style=true", nil,
			objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Region: "r1", Prefix: "x/", Style: objects.StylePath}},
		{"https://k:s@host/bkt?prefix=/x/y.z-1_/&path_style=false", nil,
			objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Prefix: "x/y.z-1_/", Style: objects.StyleDomain}},
		{"https://k:s@host/bkt?prefix=", nil, objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt"}},
		{"https://host/bkt", with(), objects.S3Config{Endpoint: "host", AccessKey: "envkey", SecretKey: "envsecret", SessionID: "token", Bucket: "bkt"}},
		{"https://k:s@host/bkt", with("AWS_REGION", "r2"), objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Region: "r2"}},
		{"https://k:s@host/bkt", with("AWS_DEFAULT_REGION", "r3"),
			objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Region: "r3"}},
		{"https://k:s@host/bkt", with("AWS_REGION", "r2", "AWS_DEFAULT_REGION", "r3"),
			objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Region: "r2"}},
		{"https://k:s@host/bkt?region=r1", with("AWS_REGION", "r2"),
			objects.S3Config{Endpoint: "host", AccessKey: "k", SecretKey: "s", Bucket: "bkt", Region: "r1"}},
	} {
		got, err := objects.ParseS3(tc.url, func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok })
		if err != nil || got != tc.want {
			t.Errorf("ParseS3(%q) = %+v, %v, want %+v", tc.url, got, err, tc.want)
		}
		if s, err := objects.DialS3(got); err != nil {
			t.Errorf("DialS3(%+v): %v", got, err)
		} else {
			s.Close()
		}
		if text := got.String(); strings.Contains(text, "@") || !strings.HasSuffix(text, got.Endpoint+"/bkt/"+got.Prefix) {
			t.Errorf("String = %s, want host and bucket and no credentials", text)
		}
	}
}

// Every mistake is named, and no text has a piece of the secret.
func TestParseS3Mistakes(t *testing.T) {
	const secret = "TOPSECRET"
	for url, want := range map[string]string{
		"":                                                                "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"bucket":                                                          "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"s3://k:TOPSECRET@host/bkt":                                       "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOPSECRET@/b":                                          "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOPSECRET@:9000/bkt":                                   "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOPSECRET@host/bkt#x":                                  "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOP/SECRET@host/bkt":                                   "escaped, as in %2F for /",
		"https://k:TOP SECRET@host/bkt":                                   "escaped",
		"https://k:TOPSECRET%zz@host/bkt":                                 "escaped",
		"https://k:TOPSECRET@host:x/bkt":                                  "expected",
		"https://k:TOPSECRET@host:0/bkt":                                  "expected a port of 1 to 65535",
		"https://k:TOPSECRET@host:70000/":                                 "expected the name of one bucket",
		"https://k:TOPSECRET@host":                                        "expected the name of one bucket",
		"https://k:TOPSECRET@host/bkt/c":                                  "expected the name of one bucket",
		"https://host/bkt":                                                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set",
		"https://TOPSECRET@host/bkt":                                      "expected KEY:SECRET before the @",
		"https://:TOPSECRET@host/bkt":                                     "expected KEY:SECRET before the @",
		"https://k:@host/bkt":                                             "expected KEY:SECRET before the @",
		"https://k:TOPSECRET@host/bkt?region=a&region=b":                  "expected region once",
		"https://k:TOPSECRET@host/bkt?path_style=yes":                     `path_style: expected true or false, got "yes"`,
		"https://k:TOPSECRET@host/bkt?pathstyle=true":                     `expected region, prefix or path_style, got "pathstyle"`,
		"https://k:TOPSECRET@host/bkt?prefix=../x":                        "prefix: expected at most 512 letters",
		"https://k:TOPSECRET@host/bkt?prefix=x//y":                        "prefix: expected at most 512 letters",
		"https://k:TOPSECRET@host/bkt?prefix=x/./y":                       "prefix: expected at most 512 letters",
		"https://k:TOPSECRET@host/bkt?prefix=a%00":                        "prefix: expected at most 512 letters",
		"https://k:TOPSECRET@host/bkt?prefix=%C3%A9":                      "prefix: expected at most 512 letters",
		"https://k:TOPSECRET@host/bkt?%zz":                                "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOPSECRET@host/bkt?a;b":                                "expected https://KEY:SECRET@HOST:PORT/BUCKET",
		"https://k:TOPSECRET@host/bkt?prefix=" + strings.Repeat("x", 600): "prefix: expected at most 512 letters",
	} {
		c, err := objects.ParseS3(url, func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseS3(%q) = %+v, %v, want %q", url, c, err, want)
			continue
		}
		if text := err.Error(); strings.Contains(text, secret) || strings.Contains(text, "TOP") {
			t.Errorf("ParseS3(%q): %v shows the secret", url, err)
		}
	}
}

func TestDialS3Mistakes(t *testing.T) {
	for name, c := range map[string]objects.S3Config{
		"nothing":        {},
		"no credentials": {Endpoint: "host", Bucket: "bkt"},
		"no host":        {Endpoint: ":9000", Bucket: "bkt", AccessKey: "k", SecretKey: "s"},
		"a path":         {Endpoint: "host/x", Bucket: "bkt", AccessKey: "k", SecretKey: "s"},
		"bad bucket":     {Endpoint: "host", Bucket: "B..b", AccessKey: "k", SecretKey: "s"},
	} {
		if s, err := objects.DialS3(c); err == nil {
			s.Close()
			t.Errorf("%s: DialS3 finds nothing wrong", name)
		}
	}
}
