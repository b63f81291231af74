package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// adminTokenEnv holds the token, so that it need not stand in a command line for all to see.
const adminTokenEnv = "SLUICE_ADMIN_TOKEN"

// adminTimeout bounds one request to the admin listener.
const adminTimeout = 10 * time.Second

// adminAPI is where the admin listener of a node is.
type adminAPI struct{ base, token string }

func (a *adminAPI) check() error {
	u, err := url.Parse(a.base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usagef("--admin: expected a URL as http://127.0.0.1:8081, got %q", a.base)
	}
	if a.token == "" {
		a.token = os.Getenv(adminTokenEnv)
	}
	return nil
}

// ask asks a path of the API. A body of nil is none, and an answer of nil is not read.
func (a *adminAPI) ask(cmd *cobra.Command, method, path string, query url.Values, body, answer any) error {
	var text string
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = string(encoded)
	}
	where := strings.TrimRight(a.base, "/") + path + "?" + query.Encode()
	req, err := http.NewRequestWithContext(cmd.Context(), method, where, strings.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	client := http.Client{Timeout: adminTimeout}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// refusal is the error that an answer tells.
func refusal(resp *http.Response) error {
	var p struct{ Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Detail == "" {
		return fmt.Errorf("the admin listener answered %s", resp.Status)
	}
	return errors.New(p.Detail)
}
