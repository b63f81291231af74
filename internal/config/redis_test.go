package config_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/config"
)

func TestRedis(t *testing.T) {
	for text, want := range map[string]config.Redis{
		"redis://localhost":             {Address: "localhost:6379"},
		"redis://localhost/":            {Address: "localhost:6379"},
		"redis://10.0.0.1:1/15":         {Address: "10.0.0.1:1", DB: 15},
		"rediss://[::1]":                {Address: "[::1]:6379", TLS: true},
		"redis://:p%40ss%2F@redis:6380": {Address: "redis:6380", Password: "p@ss/"},
		"redis://me:pass@redis":         {Address: "redis:6379", User: "me", Password: "pass"},
	} {
		c, err := config.Parse("sluice.yaml", []byte("redis: "+text+"\n"+minimal), nil, nil)
		if err != nil || !reflect.DeepEqual(*c.Redis, want) {
			t.Errorf("%s: %v, want the parts %v", text, err, want.Address)
		}
	}
}

func TestRedisIsPrintedWithoutPassword(t *testing.T) {
	c, err := config.Parse("sluice.yaml", []byte("redis: rediss://me:hunter2@redis/7\n"+minimal), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(c.Redis), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Redis), string(asJSON)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the password is in %s", shown)
		}
	}
	if got, want := c.Redis.String(), "rediss://redis:6379/7"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}

func TestDataDirIsRelativeToTheFile(t *testing.T) {
	for text, want := range map[string]string{"./d": "/etc/sluice/d", "d/e": "/etc/sluice/d/e", "/var/lib/sluice": "/var/lib/sluice"} {
		c, err := config.Parse("/etc/sluice/sluice.yaml", []byte("data_dir: "+text+"\n"+minimal), nil, nil)
		if err != nil || c.DataDir != want {
			t.Errorf("data_dir: %s: %v, %v, want %s", text, c, err, want)
		}
	}
}
