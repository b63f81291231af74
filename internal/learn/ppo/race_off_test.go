//go:build !race

package ppo

const underRace = false
