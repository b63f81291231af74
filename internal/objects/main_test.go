package objects_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"
)

// childEnv makes the test's program do something else than test: what needs a process of its own.
const childEnv = "SLUICE_OBJECTS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "s3" {
		serveS3()
		return
	}
	goleak.VerifyTestMain(m)
}

// serveS3 serves a bucket until its input ends.
func serveS3() {
	server := httptest.NewServer(newS3Server())
	fmt.Println(server.URL)
	io.Copy(io.Discard, os.Stdin)
}

// bucket is there on every server of the tests.
const bucket = "bucket"

// newS3Server is an S3-compatible service that keeps what it gets in memory. It doesn't check signatures.
func newS3Server() http.Handler {
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		panic(err)
	}
	return gofakes3.New(backend).Server()
}

// child prepares this program to run again, as something else.
func child(what string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	return cmd
}
