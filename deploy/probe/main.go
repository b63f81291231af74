// Command probe is a health check for an image without a shell: it ends with 0 if the URL that it is given answers with 200 within two seconds.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := probe(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func probe(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected one URL, got %d arguments", len(args))
	}
	client := &http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with %s", args[0], resp.Status)
	}
	return nil
}
