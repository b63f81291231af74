//go:build race

package ppo

// underRace says that the race detector is on, with which a training takes ten times as long.
const underRace = true
