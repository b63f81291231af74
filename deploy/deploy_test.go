package deploy_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats-server/v2/server"
)

// composeFile is what the tests look at.
type composeFile struct {
	Services map[string]struct {
		Image string
		Build *struct {
			Context, Dockerfile string
		}
		Command     []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Environment map[string]string
		Healthcheck struct{ Test []string }
		Ports       []string
		Volumes     []string
	}
	Volumes map[string]any
}

func readCompose(t *testing.T) (c composeFile) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is named in compose.yaml is there: services, volumes, files.
func TestComposeIsWhole(t *testing.T) {
	c := readCompose(t)
	want := []string{"nats-1", "nats-2", "nats-3", "nginx", "redis", "store-1", "store-2", "store-3"}
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, want) {
		t.Errorf("the services are %q, want %q", got, want)
	}
	used := map[string]bool{}
	for name, s := range c.Services {
		for other, on := range s.DependsOn {
			if _, there := c.Services[other]; !there || on.Condition != "service_healthy" {
				t.Errorf("%s depends on %s (%s)", name, other, on.Condition)
			}
		}
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s has the health check %q", name, s.Healthcheck.Test)
		}
		if !strings.Contains(s.Image, ":") && s.Build == nil {
			t.Errorf("%s has the image %q, want one with a version, or one that is built", name, s.Image)
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, "./") {
				read(t, source)
				continue
			}
			used[source] = true
		}
	}
	if declared := slices.Sorted(maps.Keys(c.Volumes)); !slices.Equal(slices.Sorted(maps.Keys(used)), declared) {
		t.Errorf("used are the volumes %v, declared %v", used, declared)
	}
}

// The nodes differ in their own volume and in the port for operators, and reach every other service.
func TestComposeNodes(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		if !strings.HasPrefix(name, "store-") {
			continue
		}
		flags := strings.Join(s.Command, " ")
		for _, want := range []string{"store ", "--listen=:5000", "--data-dir=/data", "--objects=/objects", "--redis=redis://redis:6379",
			"--nats=nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222"} {
			if !strings.Contains(flags, want) {
				t.Errorf("%s runs %q, want %s", name, flags, want)
			}
		}
		if !slices.Equal(s.Volumes, []string{name + ":/data", "objects:/objects"}) {
			t.Errorf("%s has %q, want a volume of its own and that of all", name, s.Volumes)
		}
		if want := "127.0.0.1:510" + strings.TrimPrefix(name, "store-") + ":8081"; !slices.Equal(s.Ports, []string{want}) {
			t.Errorf("%s has the ports %q, want %s", name, s.Ports, want)
		}
		if !strings.Contains(read(t, "nodes.compose.conf"), "server "+name+":5000 ") {
			t.Errorf("nginx does not know %s", name)
		}
		if s.Build == nil {
			t.Fatalf("%s isn't built", name)
		}
		read(t, filepath.Join(s.Build.Context, s.Build.Dockerfile))
	}
}

// docker itself has nothing to say against it.
func TestComposeConfig(t *testing.T) {
	if out, err := exec.Command("docker", "compose", "version").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this needs docker compose: %v: %s", err, out)
	}
	if out, err := exec.Command("docker", "compose", "-f", "compose.yaml", "config", "--quiet").CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}

// The configuration of the NATS servers of compose.yaml says what the nodes rely on.
func TestNATSConfig(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if !strings.HasPrefix(name, "nats-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for key, value := range s.Environment {
				t.Setenv(key, value)
			}
			o, err := server.ProcessConfigFile("nats.conf")
			if err != nil {
				t.Fatal(err)
			}
			if o.ServerName != name || !o.JetStream || !o.SyncAlways || o.StoreDir != "/data" || len(o.Routes) != 3 || o.Port != 4222 || o.HTTPPort != 8222 {
				t.Errorf("%s: name %q, JetStream %t, synced %t, in %s, %d routes, port %d, health on %d", name, o.ServerName, o.JetStream, o.SyncAlways,
					o.StoreDir, len(o.Routes), o.Port, o.HTTPPort)
			}
		})
	}
}

// The image is made with the Go that go.mod asks for, of packages that exist.
func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if goVersion == nil || !strings.Contains(text, "FROM golang:"+goVersion[1]+" ") {
		t.Errorf("the Dockerfile does not build with Go %v", goVersion)
	}
	for _, want := range []string{"FROM scratch", "USER 65532:65532", "CGO_ENABLED=0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
	built := regexp.MustCompile(`-o /out/(\S+) \./(\S+)`).FindAllStringSubmatch(text, -1)
	if len(built) != 2 {
		t.Fatalf("the Dockerfile builds %q, want the program and the probe", built)
	}
	for _, b := range built {
		if _, err := os.Stat(filepath.Join("..", b[2])); err != nil {
			t.Error(err)
		}
		if !strings.Contains(text, " /out/"+b[1]+" ") {
			t.Errorf("%s is not copied into the image", b[1])
		}
	}
}
