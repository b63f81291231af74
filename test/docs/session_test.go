//go:build unix

package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

// session runs a page: in one bash, in a directory of its own, as a reader would who has a checkout and sluice on the PATH.
type session struct {
	page *page
	dir  string   // where the page is read
	outs string   // what each block has written, in files named by its line
	env  []string // of bash

	patience time.Duration // no measure of anything: a page that has not ended by then never will
	anyPort  bool          // the page listens on none
}

// prelude is what bash has before the first block. A block's output goes to a file, in which await looks for what a server
// says when it is ready. A server is a process group of its own, and disowned, so that a "wait" in the page waits for what the page has
// started in the same terminal alone. Its bash stays until the server has ended. "server TEXT COMMAND" is for hidden ones.
// In a dry block there are only the programs in testdata/bin, which look whether what they are asked for exists; of others only files of the checkout are.
const prelude = `
begin() { line=$1; echo "$line" >&3; exec >"$OUTS/$line" 2>&1; }
groups=()
await() {
	disown "$1"
	groups+=("$1")
	until grep -qF -- "$2" "$OUTS/$line"; do
		kill -0 "$1" 2>/dev/null || { echo "(ended without having written: $2)"; return 1; }
		sleep 0.05
	done
}
server() {
	set -m; { trap 'exit 143' TERM; "${@:2}"; } & set +m
	await $! "$1"
}
stop() {
	for group in "${groups[@]}"; do
		kill -- "-$group" 2>/dev/null || continue
		while kill -0 "$group" 2>/dev/null; do sleep 0.05; done
	done
	groups=()
}
dry() {
	export DRY=1 PATH=$SHIMS
	cd() { :; }
	kill() { :; }
	[() { :; } # so that a loop ends that waits for a file
	command_not_found_handle() {
		for word; do
			case $word in deploy/* | docs/* | examples/* | python/*) [[ -e "$CHECKOUT/$word" ]] || { echo "there is no $word"; return 1; } ;; esac
		done
	}
}
trap 'exit 1' TERM
trap stop EXIT
`

// script is the page as bash reads it.
func (s *session) script() (string, error) {
	var text strings.Builder
	text.WriteString(prelude)
	for _, b := range s.page.blocks {
		commands, err := s.commands(b)
		if err != nil {
			return "", fmt.Errorf("%s:%d: %w", s.page.name, b.line, err)
		}
		if commands != "" {
			fmt.Fprintf(&text, "begin %d\n%s\n", b.line, commands)
		}
	}
	return text.String(), nil
}

// commands is what bash does about a block.
func (s *session) commands(b *block) (string, error) {
	switch {
	case b.lang == "yaml":
		return s.yaml(b)
	case b.file != "":
		return b.save(b.file, b.text), nil
	case b.lang == "setup":
		return b.text, nil
	case b.lang != "sh" || b.left():
		return "", nil
	case b.not != "":
		return "( dry\n" + built.ReplaceAllString(b.text, "") + ")", nil
	case b.background:
		return fmt.Sprintf("set -m; { trap 'exit 143' TERM\n%s} & set +m; await $! %s", b.text, quote(b.until)), nil
	case b.fails:
		return "set +e; ( set -e\n" + b.text + "); code=$?; set -e; [ $code != 0 ] || { echo '(did not fail)'; false; }", nil
	}
	return b.text, nil
}

// built finds the directory of programs that a page builds, which a dry block does not.
var built = regexp.MustCompile(`(?m)^bin/`)

// left reports whether the block is left out, for want of a program.
func (b *block) left() bool {
	return slices.ContainsFunc(b.needs, func(program string) bool {
		_, err := exec.LookPath(program)
		return err != nil
	})
}

func (b *block) save(file, text string) string {
	return fmt.Sprintf("mkdir -p \"$(dirname %[1]s)\"; cat >%[1]s <<'END OF FILE'\n%[2]sEND OF FILE", quote(file), text)
}

// yaml saves and checks a configuration, or what a part of one is part of. A file without upstreams is none. What is saved as a file that
// the repository has, such as examples/slow.yaml, is that file.
func (s *session) yaml(b *block) (string, error) {
	var top map[string]any
	if err := yaml.Unmarshal([]byte(b.text), &top); err != nil {
		return "", err
	}
	file, text := b.file, b.text
	if kept, err := os.ReadFile(filepath.Join(checkout, file)); file != "" && err == nil && string(kept) != text {
		return "", fmt.Errorf("the repository has another %s than the page", file)
	}
	if file != "" && top["upstreams"] == nil && !b.part {
		return b.save(file, text), nil
	}
	if file == "" {
		file = fmt.Sprintf("line-%d.yaml", b.line)
	}
	if b.part {
		text += missing(top)
	}
	return b.save(file, text) + "\nsluice check -c " + quote(file), nil
}

// missing are the sections that make a whole configuration of a part.
func missing(top map[string]any) string {
	var text string
	name := "api"
	if upstreams, ok := top["upstreams"].(map[string]any); ok {
		for name = range upstreams {
			break
		}
	} else {
		text += "upstreams: {api: {targets: [\"http://127.0.0.1:9090\"]}, inference: {targets: [\"http://127.0.0.1:9092\"]}}\n"
	}
	if top["routes"] == nil {
		text += "routes: [{path: /*, upstream: " + name + "}]\n"
	}
	if top["data_dir"] == nil {
		text += "data_dir: ./data\n"
	}
	return text
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// run runs the page, ends what it has left running, and compares what its blocks wrote with what it says they do.
func (s *session) run() error {
	script, err := s.script()
	if err != nil {
		return err
	}
	if !s.anyPort {
		release, err := alone()
		if err != nil {
			return err
		}
		defer release()
		if err := s.portsFree(); err != nil {
			return err
		}
	}
	if err := s.bash(script); err != nil {
		return err
	}
	return s.compare()
}

// alone waits until no other run of these tests on this machine is in a page, which would use the same ports.
func alone() (release func() error, err error) {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "sluice-docs.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return lock.Close, nil
}

// bash runs the script in a process group of its own. The pipe on which it says where it is ends when its last process has.
func (s *session) bash(script string) error {
	progress, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer progress.Close()
	cmd := exec.Command("bash", "-e", "-c", script)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = s.dir, append(s.env, "OUTS="+s.outs), []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint bytes.Buffer // of bash itself, before the first block
	cmd.Stderr = &complaint
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	line := make(chan int, 1)
	go func() { line <- lastLine(progress) }()
	tooLong := time.AfterFunc(s.patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) })
	failure := cmd.Wait()
	inTime := tooLong.Stop()
	last, err := end(cmd.Process.Pid, line)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", s.page.name, err)
	case !inTime:
		return fmt.Errorf("%s:%d: the block has not ended within %v. A server needs a comment before the block. There is\n%s\nIt wrote:\n%s",
			s.page.name, last, s.patience, annotations, tail(s.wrote(last)))
	case failure != nil:
		return fmt.Errorf("%s:%d: %v\n%s\n%sIt wrote:\n%s", s.page.name, last, failure, complaint.Bytes(), s.text(last), tail(s.wrote(last)))
	}
	return nil
}

// end ends what a page has started with & and left behind, and returns the line that the last block began on. Servers have been
// ended by bash.
func end(group int, line <-chan int) (int, error) {
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(-group, how) // an error says that there is none
		select {
		case last := <-line:
			return last, nil
		case <-time.After(15 * time.Second):
		}
	}
	return 0, errors.New("a program that the page has started does not end")
}

// lastLine reads the lines of blocks that have begun, until no process is left that could write one.
func lastLine(r io.Reader) int {
	last := 0
	for in := bufio.NewScanner(r); in.Scan(); {
		last, _ = strconv.Atoi(in.Text())
	}
	return last
}

// text is the block that begins on a line.
func (s *session) text(line int) string {
	for _, b := range s.page.blocks {
		if b.line == line {
			return b.text
		}
	}
	return ""
}

// wrote is what the block that begins on a line has written so far.
func (s *session) wrote(line int) string {
	text, _ := os.ReadFile(filepath.Join(s.outs, strconv.Itoa(line))) // there is none if the block was not reached
	return string(text)
}

// tail is enough of the end of a text to see what went wrong.
func tail(text string) string {
	const enough = 4000
	if len(text) <= enough {
		return text
	}
	return "…" + text[len(text)-enough:]
}

// listening finds the ports of a page.
var listening = regexp.MustCompile(`(?:localhost|\d\.\d|[\s"'=])\]?:(\d{4,5})\b`)

// portsFree waits for ports of the page that somebody listens on, since its blocks would talk to the wrong server, and complains in the end.
func (s *session) portsFree() error {
	ports := map[string]bool{"8080": true, "8081": true, "9090": true}
	for _, b := range s.page.blocks {
		if b.lang == "sh" || b.lang == "setup" || b.file != "" {
			for _, match := range listening.FindAllStringSubmatch(b.text, -1) {
				ports[match[1]] = true
			}
		}
	}
	deadline := time.Now().Add(s.patience)
	for port := range ports {
		for free := false; !free; {
			l, err := net.Listen("tcp", "127.0.0.1:"+port)
			switch {
			case err == nil:
				l.Close()
				free = true
			case time.Now().After(deadline):
				return fmt.Errorf("%s uses port %s, which is taken here: %w", s.page.name, port, err)
			default: // perhaps for a moment
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	return nil
}

// environment is that of somebody who has cloned the repository, and installed sluice and nothing else of it.
func environment(bin, checkout, scratch string) ([]string, error) {
	shims, err := filepath.Abs("testdata/bin")
	if err != nil {
		return nil, err
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	env := []string{"HOME=" + scratch, "TMPDIR=" + scratch, "PATH=" + shims + ":" + os.Getenv("PATH"), "SHIMS=" + shims, "REAL_PATH=" + os.Getenv("PATH"),
		"no_proxy=*", "REAL_GO=" + goTool, "CHECKOUT=" + checkout, "SLUICE=" + bin}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN"} {
		value, err := exec.Command(goTool, "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env, nil
}
