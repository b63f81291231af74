//go:build race

package e2e_test

// raceEnabled says that the tests, and so the program under test, are built with the race detector.
const raceEnabled = true
