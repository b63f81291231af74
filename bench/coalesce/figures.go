package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// quantile is the value below which a part q of the values is.
func quantile(values []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median(values []time.Duration) time.Duration { return quantile(values, 0.5) }

// spread is a median with the least and the greatest.
func spread(values []time.Duration) string {
	return fmt.Sprintf("%s (%s to %s)", show(median(values)), show(slices.Min(values)), show(slices.Max(values)))
}

func show(d time.Duration) string {
	if d.Abs() < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// evenly are the times of n requests per second for as long as that.
func evenly(perSecond float64, length time.Duration) []time.Duration {
	due := make([]time.Duration, int(perSecond*length.Seconds()))
	for i := range due {
		due[i] = time.Duration(float64(i) / perSecond * float64(time.Second))
	}
	return due
}

// atRandom are the times of requests that come independently of each other (a Poisson process).
func atRandom(rng *rand.Rand, perSecond float64, length time.Duration) (due []time.Duration) {
	for at := 0.0; ; {
		at += rng.ExpFloat64() / perSecond
		if at >= length.Seconds() {
			return due
		}
		due = append(due, time.Duration(at*float64(time.Second)))
	}
}

// inBursts are the times of bursts at random times, every so often on average, with size requests within width each.
func inBursts(rng *rand.Rand, every time.Duration, size int, width, length time.Duration) (due []time.Duration) {
	for _, burst := range atRandom(rng, 1/every.Seconds(), length) {
		for range size {
			due = append(due, burst+time.Duration(rng.Int64N(int64(width))))
		}
	}
	slices.Sort(due)
	return due
}
