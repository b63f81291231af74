package window_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicegate/sluice/window"
)

// Count the requests of the last minute.
func Example() {
	w, err := window.New(60*time.Second, 100*time.Millisecond)
	if err != nil {
		panic(err)
	}
	for range 3 {
		w.Add(window.Now(), 1)
	}
	fmt.Println(w.AddCount(window.Now(), 1))
	// Output: 4
}

// A test passes instants of its own: nothing sleeps.
func ExampleWindow_Count() {
	w, err := window.New(60*time.Second, 100*time.Millisecond)
	if err != nil {
		panic(err)
	}
	noon := window.Instant(12 * time.Hour)
	w.Add(noon, 4)
	fmt.Println(w.Count(noon))
	fmt.Println(w.Count(noon.Add(59 * time.Second)))
	fmt.Println(w.Count(noon.Add(60 * time.Second)))
	// Output:
	// 4
	// 4
	// 0
}

// A chart needs the buckets.
func ExampleWindow_AppendBuckets() {
	w, err := window.New(5*time.Second, time.Second)
	if err != nil {
		panic(err)
	}
	for s := range 8 {
		w.Add(window.Instant(s)*window.Instant(time.Second), uint64(s))
	}
	now := window.Instant(7500 * time.Millisecond)
	newest := time.Duration(w.BucketStart(now))
	for i, n := range w.AppendBuckets(nil, now) {
		fmt.Println(newest-time.Duration(4-i)*w.Precision(), n)
	}
	// Output:
	// 3s 3
	// 4s 4
	// 5s 5
	// 6s 6
	// 7s 7
}

// A list of meters needs rates.
func ExampleWindow_Rate() {
	w, err := window.New(60*time.Second, 100*time.Millisecond)
	if err != nil {
		panic(err)
	}
	now := window.Instant(0)
	for range 600 { // one every 50 ms for 30 s
		w.Add(now, 1)
		now = now.Add(50 * time.Millisecond)
	}
	now = now.Add(5 * time.Second)
	fmt.Printf("%.0f/s over 1 s, %.0f/s over 10 s\n", w.Rate(now, time.Second), w.Rate(now, 10*time.Second))
	// Output: 0/s over 1 s, 10/s over 10 s
}

// Keep the count across a restart that took 10 seconds.
func ExampleRestore() {
	const timeframe, precision = 60 * time.Second, 100 * time.Millisecond
	dir, err := os.MkdirTemp("", "window")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "persistence.bin")

	w, err := window.New(timeframe, precision)
	if err != nil {
		panic(err)
	}
	w.Add(window.Now(), 4)
	stopped := time.Now()
	if err := window.Save(path, w.Snapshot(window.At(stopped), stopped)); err != nil {
		panic(err)
	}

	var s window.Snapshot
	if err := window.Load(path, &s); err != nil {
		panic(err) // a *window.SetAsideError is reason to say so and go on
	}
	w, err = window.Restore(timeframe, precision, s, window.Now(), stopped.Add(10*time.Second))
	if err != nil {
		panic(err)
	}
	fmt.Println(w.Count(window.Now()))
	fmt.Println(w.Count(window.Now().Add(50 * time.Second)))
	// Output:
	// 4
	// 0
}

// One window per client.
func ExampleTable() {
	clients, err := window.NewTable[string](60*time.Second, time.Second, 10_000)
	if err != nil {
		panic(err)
	}
	now := window.Now()
	clients.Add("alice", now, 1)
	clients.Add("bob", now, 1)
	fmt.Println(clients.AddCount("alice", now, 1), clients.Len())
	// Output: 2 2
}
