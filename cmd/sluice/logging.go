package main

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/sluicegate/sluice/internal/config"
)

// newLogger makes the process's logger: text on a terminal and JSON otherwise, unless the configuration says which.
// level can be changed later.
func newLogger(w io.Writer, cfg *config.Log, level *slog.LevelVar) *slog.Logger {
	setLevel(level, cfg)
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == config.LogText || cfg.Format == config.LogAuto && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func setLevel(level *slog.LevelVar, cfg *config.Log) {
	switch cfg.Level {
	case config.LogDebug:
		level.Set(slog.LevelDebug)
	case config.LogWarn:
		level.Set(slog.LevelWarn)
	case config.LogError:
		level.Set(slog.LevelError)
	default:
		level.Set(slog.LevelInfo)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
