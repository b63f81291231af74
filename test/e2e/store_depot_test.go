package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A depot is a running `sluice store`.
type depot struct {
	*process
	url, admin string // http://127.0.0.1:PORT
	content    string // the directory of the content
}

// startDepot runs a node and waits until it listens. The content is in dir too, unless args say otherwise.
func startDepot(t *testing.T, dir string, args ...string) *depot {
	t.Helper()
	args = append([]string{"store", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", dir}, args...)
	d := &depot{process: start(t, args...), content: filepath.Join(dir, "objects")}
	d.awaitOutput(&d.stderr, `"msg":"store is listening".*\n`)
	line := d.logged("store is listening")[0]
	d.url = "http://" + line["listen"].(string)
	d.admin = strings.TrimSuffix(line["admin"].(string), "/")
	d.content = line["objects"].(string)
	return d
}

// cli runs the program with --admin of the node, and returns what it prints.
func (d *depot) cli(args ...string) (stdout string, code int) {
	d.t.Helper()
	p := start(d.t, append(args, "--admin", d.admin)...)
	code = p.wait()
	return p.stdout.String() + p.stderr.String(), code
}

// set gives a user, or with "" everybody, a quota, and a rate that nobody reaches.
func (d *depot) set(user string, bytes uint64) {
	d.t.Helper()
	args := []string{"quota", "set", "--rate", "1000000/min", "--bytes", fmt.Sprint(bytes)}
	if user == "" {
		args = append(args, "--default")
	} else {
		args = append(args, user)
	}
	if out, code := d.cli(args...); code != 0 {
		d.t.Fatalf("%q: %s", args, out)
	}
}

// A depotUsage is what GET /quota tells.
type depotUsage struct{ Quota, Used, Reserved, Available uint64 }

func (d *depot) usage(user string) (u depotUsage) {
	d.t.Helper()
	fetch(d.t, d.url+"/quota?userId="+url.QueryEscape(user), &u)
	return u
}

// A depotObject is an object of a list.
type depotObject struct {
	BucketName, ObjectID string
	SizeInByte           uint64
	ContentBytes         uint64
	ETag                 string
}

// list reads all pages of a bucket.
func (d *depot) list(user, bucket string) (all []depotObject) {
	d.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Objects []depotObject
			Next    string
		}
		fetch(d.t, d.url+"/object-storage/"+bucket+"?limit=300&userId="+url.QueryEscape(user)+"&cursor="+cursor, &page)
		all = append(all, page.Objects...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

// audit compares what users are said to use with what is listed, and what is listed with what is in the directory. Nothing may be under way.
func (d *depot) audit(bucket string, users ...string) {
	d.t.Helper()
	var want []string
	for _, user := range users {
		sum := uint64(0)
		for _, o := range d.list(user, bucket) {
			sum += o.SizeInByte
			want = append(want, strings.Trim(o.ETag, `"`))
		}
		if u := d.usage(user); u.Used != sum || u.Reserved != 0 || u.Used > u.Quota {
			d.t.Errorf("user %s: %+v, but what is listed has %d bytes", user, u, sum)
		}
	}
	slices.Sort(want)
	var got []string
	await(d.t, "the directory has no more than the catalogue", func() bool {
		got = sumsOf(d.t, d.content)
		return len(got) <= len(want)
	})
	if !slices.Equal(got, want) {
		d.t.Errorf("the directory has %d contents and the catalogue %d, or others", len(got), len(want))
	}
}

// sumsOf lists the SHA-256 of the files below a directory in order, but for what an upload that was cut off has left: a file that is no object's.
func sumsOf(t *testing.T, dir string) (sums []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() || strings.HasPrefix(f.Name(), ".tmp-") {
			return err
		}
		if !objectFile.MatchString(path) {
			t.Errorf("%s is not an object's file", path)
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) { // it was collected just now
			return nil
		}
		sum := sha256.Sum256(content)
		sums = append(sums, hex.EncodeToString(sum[:]))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(sums)
	return sums
}

var objectFile = regexp.MustCompile(`/([0-9a-z]{2})/[0-9a-z]{26}$`)

// order is the body of POST /object-storage.
func orderOf(bucket, object string, size int) string {
	return fmt.Sprintf(`{"objectId":%q,"sizeInByte":%d,"bucketName":%q,"fileName":"f1.png"}`, object, size, bucket)
}

// finished waits until the job at location is done.
func (d *depot) finished(location string) {
	d.t.Helper()
	await(d.t, "the job is done", func() bool {
		var job struct{ State string }
		fetch(d.t, d.url+location, &job)
		if job.State == "failed" {
			d.t.Fatalf("the job at %s failed", location)
		}
		return job.State == "done"
	})
}

// What a new user tries first: 200 orders of a megabyte, to three nodes in turn, of which one is killed in between: 50 are accepted, and the others
// refused, for the quota or for the rate, by all nodes alike.
func TestStoreLoop(t *testing.T) {
	t.Parallel()
	c := startDepots(t, 1, 3)
	statuses := map[int]int{}
	var locations []string
	for i := range 200 {
		switch i {
		case 25:
			c.kill(1)
		case 40:
			c.start(1)
		}
		r := do(t, "POST", c.places.at(i)+"/object-storage?userId=1", orderOf("bucket-1", fmt.Sprint(i), 1_000_000), "Content-Type", "application/json")
		statuses[r.StatusCode]++
		switch r.StatusCode {
		case 202:
			locations = append(locations, r.Header.Get("Location"))
		case 403:
			r.expect(t, 403, `"quota":50000000,"used":`)
			r.expect(t, 403, `"resets_at":"`)
		}
	}
	c.say("answers by status: %v", statuses)
	if statuses[202] != 50 || statuses[202]+statuses[403]+statuses[429] != 200 || statuses[403] == 0 {
		t.Errorf("answers by status: %v", statuses)
	}
	for i, d := range c.nodes {
		for _, l := range locations {
			d.finished(l)
		}
		await(t, "the same on all nodes", func() bool { return d.usage("1") == depotUsage{Quota: 50_000_000, Used: 50_000_000} })
		d.set("1", 50_000_000) // and requests for what follows
		do(t, "POST", d.url+"/object-storage?userId=1", orderOf("bucket-1", fmt.Sprint("late", i), 1), "Content-Type", "application/json").expect(t, 403, "")
	}
	for _, d := range c.nodes {
		if n := len(d.list("1", "bucket-1")); n != 50 {
			t.Errorf("%d objects", n)
		}
		d.audit("bucket-1", "1")
	}
}

// What was accepted is done, and what was stored is there, also if the node is killed right behind the answer.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := startDepot(t, dir)
	for i := range 5 {
		name := fmt.Sprint("o", i)
		content := strings.Repeat(name, 1000)
		do(t, "PUT", d.url+"/object-storage/bucket-1/"+name+"?userId=1", content).expect(t, 201, "")
		order := do(t, "POST", d.url+"/object-storage?userId=1", orderOf("bucket-1", name+"-record", 1000))
		order.expect(t, 202, "")
		d.signal(syscall.SIGKILL)
		d.endedBy(syscall.SIGKILL)
		d = startDepot(t, dir)
		if r := get(t, d.url+"/object-storage/bucket-1/"+name+"?userId=1"); r.StatusCode != 200 || r.body != content {
			t.Errorf("%s is %d with %d bytes", name, r.StatusCode, len(r.body))
		}
		d.finished(order.Header.Get("Location"))
	}
	d.audit("bucket-1", "1")
}

// Quotas and rates are set, told and unset by the command line.
func TestStoreQuotaCommands(t *testing.T) {
	t.Parallel()
	d := startDepot(t, t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"quota", "get", "1"}, 0, "50000000"},
		{[]string{"quota", "set", "1", "--bytes", "2MB", "--rate", "2/s"}, 0, ""},
		{[]string{"quota", "get", "1", "--json"}, 0, `"quota": 2000000`},
		{[]string{"quota", "list"}, 0, "120/min*"},
		{[]string{"quota", "list", "--json"}, 0, `"userId": "1"`},
		{[]string{"quota", "set", "--default", "--bytes", "1KiB"}, 0, ""},
		{[]string{"quota", "get", "2"}, 0, "1024"},
		{[]string{"quota", "unset", "1"}, 0, ""},
		{[]string{"quota", "get", "1"}, 0, "1024"},
		{[]string{"quota", "unset", "--default"}, 0, ""},
		{[]string{"quota", "get", "1"}, 0, "50000000"},
		{[]string{"quota", "set", "1"}, 2, "--bytes or --rate"},
		{[]string{"quota", "set", "1", "--bytes", "lots"}, 2, "lots"},
		{[]string{"quota", "set", "1", "--rate", "7/h"}, 2, "whole number"},
		{[]string{"quota", "get"}, 2, "USER"},
	} {
		if out, code := d.cli(c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%q ended with %d and said %s, want %d and %s", c.args, code, out, c.code, c.says)
		}
	}
	d.set("3", 10)
	do(t, "PUT", d.url+"/object-storage/bucket-1/o?userId=3", strings.Repeat("x", 11)).expect(t, 403, `"quota":10`)
	do(t, "PUT", d.url+"/object-storage/bucket-1/o?userId=3", strings.Repeat("x", 10)).expect(t, 201, "")
	d.audit("bucket-1", "3")
}
