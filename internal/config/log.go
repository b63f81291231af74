package config

// Log says what is logged and how.
type Log struct {
	// Level is the least severe level that is logged. Default info.
	Level LogLevel `yaml:"level"`
	// Format of a line. Default auto.
	Format LogFormat `yaml:"format"`
	// Access logs one line for every request. Default false.
	Access bool `yaml:"access"`
}

// LogLevel is a severity.
type LogLevel string

// The severities, least first.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) values() []string { return []string{"debug", "info", "warn", "error"} }

// LogFormat is how a log line looks.
type LogFormat string

// The formats of a log line.
const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON otherwise
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) values() []string { return []string{"auto", "text", "json"} }

func (l *Log) defaults() { *l = Log{Level: LogInfo, Format: LogAuto} }
