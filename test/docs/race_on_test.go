//go:build race

package docs_test

// raceEnabled says that the tests are built with the race detector.
const raceEnabled = true
