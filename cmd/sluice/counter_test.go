package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

// hour is a timeframe in which nothing expires during a test.
var hour = []string{"--persistence-timeframe", "1h", "--precision", "1s"}

func TestCounterSurvivesSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "persistence.bin")
	want := uint64(0)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM, syscall.SIGINT} {
		p := startCounter(t, file, "", hour...)
		want++
		if got := p.count(); got != want {
			t.Fatalf("first answer %d, want %d", got, want)
		}
		l := startLoad(p, 8)
		l.waitFirst(t)
		if code := p.stop(sig); code != exitOK {
			t.Fatalf("%v: exit code %d\n%s", sig, code, strings.Join(p.log(), "\n"))
		}
		want += l.acked(time.Now())
	}
}

// crashesEnv says how many times TestCounterSurvivesKills kills.
const crashesEnv = "SLUICE_CRASHES"

// TestCounterSurvivesKills kills the program at random moments. Whatever the machine's speed, the first answer after it
// counts all that was answered before the file was last written, and no more than was sent. On a machine that keeps pace
// it counts all that was answered one sync interval before the kill. Whether it keeps pace, a witness says, which writes
// files as often as the program does.
func TestCounterSurvivesKills(t *testing.T) {
	const interval = 400 * time.Millisecond
	crashes := 30
	if n, err := strconv.Atoi(os.Getenv(crashesEnv)); err == nil {
		crashes = n
	} else if testing.Short() {
		crashes = 5
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "persistence.bin")
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	var sent, least uint64 // in all; what the next first answer has to count beside itself
	written, onPace := 0, 0
	for round := range crashes {
		p := startCounter(t, file, "", append(hour, "--sync-interval", interval.String())...)
		first := p.count()
		if sent++; first < least+1 || first > sent {
			t.Fatalf("round %d: first answer %d, want %d to %d", round, first, least+1, sent)
		}
		w := startWitness(t, filepath.Join(dir, "witness"), interval/2)
		l := startLoad(p, 8)
		l.waitFirst(t)
		time.Sleep(time.Duration(random.Int64N(int64(interval * 3 / 2))))
		killed := time.Now()
		p.stop(os.Kill)
		slow := w.stop()

		least = first - 1 // what the program restored, this round's answers left out
		if s := read(t, file); s.Total() > least {
			least = first + l.acked(s.Taken)
			written++
		}
		if slow <= interval/8 {
			least = max(least, firstAt(first, l, killed.Add(-interval)))
			onPace++
		}
		sent += l.sent.Load()
		l.clients.Wait()
	}
	t.Logf("%d kills, %d of them after a write, %d on a machine that kept pace; %d requests sent, at least %d kept", crashes, written, onPace, sent, least)
	if written == 0 {
		t.Error("the file was never written before a kill")
	}
}

// firstAt returns what was known at a time, if the first answer was known by then.
func firstAt(first uint64, l *load, at time.Time) uint64 {
	if n := l.acked(at); n > 0 {
		return first + n
	}
	return 0
}

func read(t *testing.T, file string) (s window.Snapshot) {
	t.Helper()
	if err := window.Load(file, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// A witness writes a file at each tick of an interval, and remembers how long after its tick a write ended.
type witness struct{ quit, slowest chan time.Duration }

func startWitness(t *testing.T, file string, interval time.Duration) *witness {
	w := &witness{make(chan time.Duration), make(chan time.Duration)}
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		begun, slowest := time.Now(), time.Duration(0)
		for n := time.Duration(1); ; n++ {
			select {
			case <-w.quit:
				// A tick that should have come and has not is late as well.
				w.slowest <- max(slowest, time.Since(begun)-n*interval)
				return
			case <-ticker.C:
				if err := window.Save(file, window.Snapshot{}); err != nil {
					t.Error(err)
				}
				slowest = max(slowest, time.Since(begun)-n*interval)
			}
		}
	}()
	return w
}

func (w *witness) stop() time.Duration {
	close(w.quit)
	return <-w.slowest
}

func TestCounterSetsAsideWhatItCannotUse(t *testing.T) {
	s := window.Snapshot{Taken: time.Now(), Timeframe: time.Minute, Precision: 100 * time.Millisecond, Buckets: []window.Bucket{{Age: 0, Count: 7}}}
	good, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 2
		return b
	}
	for name, c := range map[string]struct {
		content []byte
		why     string
	}{
		"empty":     {nil, window.ErrTruncated.Error()},
		"truncated": {good[:len(good)-5], window.ErrTruncated.Error()},
		"torn":      {append(bytes.Clone(good[:len(good)/2]), make([]byte, len(good)-len(good)/2)...), window.ErrDamaged.Error()},
		"flipped":   {changed(len(good) - 6), window.ErrDamaged.Error()},
		"foreign":   {[]byte("[some]\nconfiguration = yes\n"), window.ErrForeign.Error()},
		"newer":     {changed(len("SLUICEWN")), window.ErrNewer.Error()}, // version 1 becomes 3
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "persistence.bin")
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			p := startCounter(t, file, "")
			if n := p.count(); n != 1 {
				t.Errorf("first answer %d", n)
			}
			if line := p.waitLog("the saved count cannot be used", 1); !strings.Contains(line, c.why) || !strings.Contains(line, "set aside as") {
				t.Errorf("logged %s, want %q in it", line, c.why)
			}
			if code := p.stop(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			aside, _ := filepath.Glob(file + ".damaged-*")
			if len(aside) != 1 {
				t.Fatalf("set aside: %q", aside)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, c.content) {
				t.Errorf("set aside %q, %v; want %q", kept, err, c.content)
			}
			if s := read(t, file); s.Total() != 1 {
				t.Errorf("saved %d, want 1", s.Total())
			}
		})
	}
}

func TestCounterForgetsWhatExpiredMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "persistence.bin")
	s := window.Snapshot{
		Taken: time.Now().Add(-30 * time.Minute), Timeframe: time.Hour, Precision: time.Second,
		Buckets: []window.Bucket{{Age: 10, Count: 7}, {Age: 2700, Count: 5}}, // 45 minutes ago then, 75 now
	}
	if err := window.Save(file, s); err != nil {
		t.Fatal(err)
	}
	p := startCounter(t, file, "", hour...)
	if n := p.count(); n != 8 {
		t.Errorf("first answer %d, want 8", n)
	}
	if line := p.waitLog("count restored", 1); !strings.Contains(line, `"count":7,"expired":5`) {
		t.Errorf("logged %s", line)
	}
}

func TestCounterTakesAClockThatWasSteppedBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "persistence.bin")
	future := window.Snapshot{
		Taken: time.Now().Add(time.Hour), Timeframe: time.Hour, Precision: time.Second,
		Buckets: []window.Bucket{{Age: 0, Count: 7}},
	}
	if err := window.Save(file, future); err != nil {
		t.Fatal(err)
	}
	p := startCounter(t, file, "", hour...)
	p.waitLog("the wall clock was stepped back", 1)
	if code := p.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	// Without a request: the file has a time by which the next process can tell how old the count is.
	if s := read(t, file); s.Total() != 7 || s.Taken.After(time.Now()) {
		t.Errorf("saved %d at %v", s.Total(), s.Taken)
	}
}

func TestCounterCountsOnWhenItsDirectoryIsGone(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "persistence.bin")
	p := startCounter(t, file, "", append(hour, "--sync-interval", "10ms")...)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if n := p.count(); n != 1 {
		t.Errorf("answer %d", n)
	}
	p.waitLog("the count cannot be saved", 1)
	for want := uint64(2); want <= 100; want++ {
		if n := p.count(); n != want {
			t.Fatalf("answer %d, want %d", n, want)
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	p.waitLog("the count can be saved again", 1)
	p.stop(os.Kill)
	if lines := grep(p.log(), "cannot be saved"); len(lines) != 1 {
		t.Errorf("logged more than once: %q", lines)
	}
	if n := startCounter(t, file, "", hour...).count(); n != 101 {
		t.Errorf("first answer %d, want 101", n)
	}
}

func TestCounterStartsWithoutItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	file := filepath.Join(dir, "persistence.bin")
	p := startCounter(t, file, "", append(hour, "--sync-interval", "10ms")...)
	p.waitLog("the count cannot be saved", 1)
	if n := p.count(); n != 1 {
		t.Errorf("answer %d", n)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.waitLog("the count can be saved again", 1)
	if code := p.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if s := read(t, file); s.Total() != 1 {
		t.Errorf("saved %d", s.Total())
	}
}

// A limit on the size of files stands for a full disk: names can be made, and writing to them fails.
func TestCounterCountsOnWhenTheDiskIsFull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "persistence.bin")
	p := startCounter(t, file, "ulimit -f 0;", append(hour, "--sync-interval", "10ms")...)
	if n := p.count(); n != 1 {
		t.Errorf("answer %d", n)
	}
	p.waitLog("the count cannot be saved", 1)
	for want := uint64(2); want <= 100; want++ {
		if n := p.count(); n != want {
			t.Fatalf("answer %d, want %d", n, want)
		}
	}
	if code := p.stop(syscall.SIGTERM); code != exitFailure {
		t.Errorf("exit code %d: a count that is lost is no success", code)
	}
	if lines := grep(p.log(), "cannot be saved"); len(lines) != 1 {
		t.Errorf("logged more than once: %q", lines)
	}
	if lines := grep(p.log(), "sluice: saving "+file); len(lines) != 1 {
		t.Errorf("the end does not say what was lost: %q", p.log())
	}
}

func TestCounterSharesItsFileWithNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "persistence.bin")
	p := startCounter(t, file, "", hour...)
	p.count()
	out, err := exec.Command("sluice", "counter", "--listen-address", "127.0.0.1:0", "--persistence-file", file).CombinedOutput()
	if want := "sluice: " + file + ": another process uses it\n"; err == nil || string(out) != want {
		t.Errorf("the second printed %q, %v; want %q", out, err, want)
	}
	p.stop(os.Kill)
	startCounter(t, file, "", hour...) // the lock of a dead process is none
}

func TestCounterEndsAtOnceOnASecondSignal(t *testing.T) {
	p := startCounter(t, filepath.Join(t.TempDir(), "persistence.bin"), "")
	flood(t, p)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitLog("stopping", 1)
	if code := p.stop(syscall.SIGTERM); code != -1 {
		t.Errorf("exit code %d, want the end by a signal\n%s", code, strings.Join(p.log(), "\n"))
	}
}
