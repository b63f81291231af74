package redislimit

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
)

var (
	//go:embed lua/entry.lua
	entrySource string
	//go:embed lua/decide.lua
	decideSource string
	//go:embed lua/exchange.lua
	exchangeSource string
	//go:embed lua/beat.lua
	beatSource string
)

// A script is Lua code and the name that Redis gives it.
type script struct{ source, sha string }

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source))
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

// scripts are those of a link.
type scripts struct{ decide, exchange, beat *script }

func newScripts() scripts {
	return scripts{
		decide:   newScript(entrySource + decideSource),
		exchange: newScript(entrySource + exchangeSource),
		beat:     newScript(beatSource),
	}
}
