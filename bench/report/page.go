package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// write makes the page and its plots.
func write(dir string, results []result, quick bool) error {
	plots := filepath.Join(dir, "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	var page strings.Builder
	head(&page, quick)
	for _, r := range results {
		section(&page, &r)
		for i, rec := range r.records {
			if err := os.WriteFile(filepath.Join(plots, plotName(r.name, i)), []byte(bars(rec.Subjects)), 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(page.String()), 0o644)
}

func plotName(name string, i int) string { return fmt.Sprintf("%s-%d.svg", name, i+1) }

func head(page *strings.Builder, quick bool) {
	fmt.Fprint(page, "# Results\n\nEvery comparison of this project in one run, made by `make bench`. Do not edit it: run it again.\n\n")
	if quick {
		fmt.Fprint(page, "**A trial run (`-quick`): one short round each. These figures mean nothing.**\n\n")
	}
	fmt.Fprintf(page, "| | |\n| --- | --- |\n| day | %s |\n| machine | %s |\n| kernel | %s |\n| load before | %s |\n| commit | %s |\n",
		time.Now().UTC().Format(time.DateOnly), harness.Versions(), output("uname", "-sr"), load(), output("git", "describe", "--always", "--dirty"))
	for _, peer := range []struct{ name, flag string }{{"nginx", "-v"}, {"varnishd", "-V"}, {"haproxy", "-v"}, {"redis-server", "--version"}, {"wrk", "-v"}} {
		fmt.Fprintf(page, "| %s | %s |\n", peer.name, output(peer.name, peer.flag))
	}
	fmt.Fprint(page, "\nServers are measured by turns, round after round, since a shared machine's speed drifts: a figure is the median, with the lowest and the highest in brackets. "+
		"Clients, servers and origins share the processors. Processor time per request hardly depends on what else runs, so believe it first.\n")
}

// output is the first line that a program prints.
func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" && err != nil {
		return "not installed"
	}
	return strings.ReplaceAll(line, "|", "/")
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], ", ")
}

func section(page *strings.Builder, r *result) {
	fmt.Fprintf(page, "\n## %s\n\n%s\n\n", r.title, r.about)
	command := "go " + strings.Join(r.args, " ")
	if r.dir != "" {
		command = "cd " + r.dir + " && " + command
	}
	fmt.Fprintf(page, "`%s`, %s\n", strings.ReplaceAll(command, " ^$ ", " '^$' "), r.took.Round(time.Second))
	if r.err != nil {
		fmt.Fprintf(page, "\n**It failed: %v**\n", r.err)
	}
	for i, rec := range r.records {
		fmt.Fprint(page, "\n| | requests/s | of the first | p99, ms | processor, µs a request |\n| --- | ---: | ---: | ---: | ---: |\n")
		for _, s := range rec.Subjects {
			fmt.Fprintf(page, "| %s | %s | %.2f | %s | %s |\n", s.Name, spread(s.Rate, "%.0f"), median(s.Rate)/median(rec.Subjects[0].Rate), spread(s.P99, "%.2f"), spread(s.CPU, "%.1f"))
		}
		fmt.Fprintf(page, "\n![requests per second](plots/%s)\n", plotName(r.name, i))
	}
	if len(r.records) > 0 {
		fmt.Fprintf(page, "\n<details><summary>what it printed</summary>\n\n```text\n%s\n```\n\n</details>\n", strings.TrimSpace(r.output))
	} else {
		fmt.Fprintf(page, "\n```text\n%s\n```\n", strings.TrimSpace(r.output))
	}
}

func spread(values []float64, format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", median(values), slices.Min(values), slices.Max(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// bars draws the medians of requests per second, with a line from the lowest to the highest.
func bars(subjects []harness.Recorded) string {
	const left, width, step = 130, 430, 28
	highest := 0.0
	for _, s := range subjects {
		highest = max(highest, slices.Max(s.Rate))
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 %d" font-family="sans-serif" font-size="13">`+"\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", len(subjects)*step+12)
	for i, s := range subjects {
		y := 8 + i*step
		at := func(v float64) float64 { return left + width*v/highest }
		colour := "#8c959f"
		if strings.Contains(s.Name, "sluice") {
			colour = "#1f6feb"
		}
		fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+14, s.Name)
		fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="%.1f" height="18" fill="%s"/>`, left, y, at(median(s.Rate))-left, colour)
		fmt.Fprintf(&svg, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#1b1f24"/>`, at(slices.Min(s.Rate)), at(slices.Max(s.Rate)), y+9, y+9)
		fmt.Fprintf(&svg, `<text x="%d" y="%d">%.0f /s</text>`+"\n", left+width+10, y+14, median(s.Rate))
	}
	return svg.String() + "</svg>\n"
}
