//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
)

// mainEnv makes the test's program be the program.
const mainEnv = "SLUICE_CLUSTER_MAIN"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "store":
		fakeNode()
	case os.Getenv(mainEnv) == "1":
		main()
	default:
		os.Exit(m.Run())
	}
}

// flagValue finds the value of a flag of the command line.
func flagValue(name string) string {
	for i, arg := range os.Args[:len(os.Args)-1] {
		if arg == name {
			return os.Args[i+1]
		}
	}
	return ""
}

// fakeNode listens where `sluice store` would, and says who it is and what it was asked. It prints what reaches it.
func fakeNode() {
	me := flagValue("--listen")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s\n", r.Method, r.URL.Path)
		fmt.Fprintf(w, "%s %s host=%s for=%s args=%q", me, r.URL.RawQuery, r.Host, r.Header["X-Forwarded-For"], os.Args)
	})
	mux.HandleFunc("/die", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s\n", r.Method, r.URL.Path)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/only", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != me {
			fmt.Println("breaks off /only")
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, me)
	})
	mux.HandleFunc("/unavailable", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s\n", r.Method, r.URL.Path)
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 1000)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Println("the body has begun")
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n+1000)
	})
	serve(me, mux)
}

func serve(me string, mux *http.ServeMux) {
	var asked atomic.Int32
	admin := http.NewServeMux()
	admin.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 { // not at once
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	go http.ListenAndServe(flagValue("--admin"), admin)
	go http.ListenAndServe(me, mux)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	fmt.Print("stopped in order")
}
