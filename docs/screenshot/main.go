// Command screenshot makes the picture of the dashboard in the README: it runs the demo for a while and has a headless Chromium draw its page. With
// -all it draws the whole page at two widths, light and dark, to be looked at.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"
)

func main() {
	out := flag.String("out", "docs/dashboard.png", "the picture")
	all := flag.String("all", "", "draw every form of the page into this directory instead")
	run := flag.Duration("run", 100*time.Second, "how long the demo runs before")
	flag.Parse()
	if err := shoot(*out, *all, *run); err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

func shoot(out, all string, run time.Duration) error {
	dir, err := os.MkdirTemp("", "sluice-screenshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "sluice")
	if text, err := exec.Command("go", "build", "-o", program, "./cmd/sluice").CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, text)
	}
	demo := exec.Command(program, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	stdout, err := demo.StdoutPipe()
	if err != nil {
		return err
	}
	if err := demo.Start(); err != nil {
		return err
	}
	defer func() {
		demo.Process.Signal(syscall.SIGINT)
		demo.Wait()
	}()
	admin, err := dashboard(bufio.NewScanner(stdout))
	if err != nil {
		return err
	}
	fmt.Printf("the demo at %s runs for %v\n", admin, run)
	time.Sleep(run)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	defer cancel()
	if all == "" {
		return draw(ctx, admin, out, form{1280, 1180, "light", false})
	}
	for _, f := range []form{{1280, 1600, "light", true}, {1280, 1600, "dark", true}, {390, 844, "light", true}, {390, 844, "dark", true}} {
		if err := draw(ctx, admin, filepath.Join(all, fmt.Sprintf("dashboard-%d-%s.png", f.width, f.theme)), f); err != nil {
			return err
		}
	}
	return nil
}

// dashboard is the URL that the demo names first.
func dashboard(lines *bufio.Scanner) (string, error) {
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	for lines.Scan() {
		if found := url.FindString(lines.Text()); found != "" {
			return found, nil
		}
	}
	return "", fmt.Errorf("the demo does not say where its dashboard is: %w", lines.Err())
}

// form is how the page is drawn.
type form struct {
	width, height int64
	theme         string
	whole         bool // down to its end
}

func draw(alloc context.Context, admin, file string, f form) error {
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	picture := chromedp.CaptureScreenshot()
	if f.whole {
		picture = chromedp.FullScreenshot(100)
	}
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(f.width, f.height),
		chromedp.Navigate(admin+"/"),
		chromedp.Evaluate[chromedp.Void]("document.documentElement.dataset.theme = '"+f.theme+"'"),
		chromedp.WaitVisible(chromedp.CSS("#state.live")),
		chromedp.Sleep(3*time.Second)) // some events
	if err != nil {
		return err
	}
	png, err := chromedp.Run(ctx, picture)
	if err != nil {
		return err
	}
	fmt.Println(file)
	return os.WriteFile(file, png, 0o644)
}
