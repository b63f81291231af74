// Package version knows what build this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the released version, set by the linker
// (-ldflags "-X github.com/sluicegate/sluice/internal/version.Version=v1.2.3").
// Without it the module's own version is used, and "devel" for a build from a checkout.
var Version = ""

// Info describes a build.
type Info struct {
	Version  string `json:"version"`  // "v1.2.3", or "devel"
	Revision string `json:"revision"` // the commit, "" if the build does not know it
	Go       string `json:"go"`       // the Go release that compiled it, such as "go1.26.8"
	Platform string `json:"platform"` // such as "linux/amd64"
}

// Get returns what is known about the running build.
func Get() Info {
	info := Info{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if build, ok := debug.ReadBuildInfo(); ok {
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				info.Revision = s.Value
			}
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	return info
}

// String is the line that `sluice version` prints after the program's name.
func (i Info) String() string {
	if i.Revision == "" {
		return fmt.Sprintf("%s (%s, %s)", i.Version, i.Go, i.Platform)
	}
	return fmt.Sprintf("%s (%.12s, %s, %s)", i.Version, i.Revision, i.Go, i.Platform)
}
