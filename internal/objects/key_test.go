package objects_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/objects"
)

// id is a key, for the names below to spoil.
const id = "0123456789abcdefghijklmnopqrstuvwxyz"

// badKeys are names that a store must refuse. Each is long enough for a key, but for those that are about the length.
var badKeys = map[string]string{
	"empty":                       "",
	"short":                       id[:25],
	"long":                        strings.Repeat("a", 65),
	"oversized":                   strings.Repeat("a", 1<<20),
	"dot":                         ".",
	"two dots":                    "..",
	"up":                          "../" + id,
	"up and up":                   strings.Repeat("../", 10) + "etc/passwd",
	"up in the middle":            "ab/../../" + id,
	"up at the end":               id + "/..",
	"absolute":                    "/" + id,
	"a shard of its own":          "01/" + id,
	"two slashes":                 "01//" + id,
	"slash at the end":            id + "/",
	"backslash":                   `..\..\` + id,
	"drive":                       `c:\` + id,
	"stream":                      id + ":$DATA",
	"device":                      `\\.\nul\` + id,
	"NUL":                         id + "\x00",
	"NUL in front":                "\x00" + id,
	"NUL and more":                id + "\x00.png",
	"newline":                     id + "\n",
	"carriage return":             id + "\r\nX-Evil: 1",
	"tab":                         id + "\t",
	"space":                       id + " ",
	"escape":                      id + "\x1b[2J",
	"delete":                      id + "\x7f",
	"upper case":                  strings.ToUpper(id),
	"hyphen":                      "-" + id,
	"underscore":                  id + "_",
	"temporary":                   ".tmp-" + id,
	"hidden":                      "." + id,
	"escaped up":                  "%2e%2e%2f" + id,
	"escaped twice":               "%252e%252e%252f" + id,
	"query":                       id + "?versionId=1",
	"fragment":                    id + "#1",
	"fullwidth dots":              "．．／" + id,
	"one dot leader":              "․․/" + id,
	"fraction slash":              "..⁄" + id,
	"division slash":              "..∕" + id,
	"ideographic full stop":       "。。" + id,
	"overlong slash":              "..\xc0\xaf" + id,
	"overlong dot":                "\xc0\xae\xc0\xae/" + id,
	"overlong, three bytes":       "\xe0\x80\xae" + id,
	"surrogate":                   "\xed\xa0\x80" + id,
	"broken UTF-8":                id + "\xff",
	"cut UTF-8":                   id + "\xe2\x82",
	"combining":                   id + "a\u0301",
	"composed":                    id + "\u00e1",
	"right to left":               id + "\u202egnp",
	"isolate":                     "\u2066" + id,
	"zero width":                  id + "\u200b",
	"joiner":                      id + "\u200d",
	"byte order mark":             "\ufeff" + id,
	"soft hyphen":                 id + "\u00ad",
	"variation selector":          id + "\ufe0f",
	"Cyrillic a":                  "\u0430" + id,
	"fullwidth digits":            strings.Repeat("１", 26),
	"Arabic digits":               strings.Repeat("٣", 26),
	"mathematical letters":        strings.Repeat("𝐚", 26),
	"long s, lower case of S":     strings.Repeat("ſ", 26),
	"Kelvin, upper case of k":     strings.Repeat("K", 26),
	"line separator":              id + "\u2028",
	"noncharacter":                id + "\uffff",
	"tag":                         id + "\U000e0041",
	"characters, but many bytes":  strings.Repeat("é", 40),
	"reserved on Windows":         "con",
	"reserved, with an ending":    "nul.aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"reserved, at full length":    "com1 ......................",
	"dot at the end":              id + ".",
	"home":                        "~/" + id,
	"variable":                    "$HOME/" + id,
	"quote":                       "'" + id,
	"shell":                       ";" + id,
	"glob":                        id + "*",
	"lost+found":                  "lost+found" + id[:26],
	"emoji":                       "🗑" + id,
	"control in the upper half":   id + "\u0085",
	"no-break space":              id + "\u00a0",
	"Turkish dotless i":           strings.Repeat("ı", 26),
	"letters with a stray accent": "cafe\u0301" + id,
}

// testKeys offers a store every name of the table in every place.
func testKeys(t *testing.T, f fixture) {
	for name, k := range badKeys {
		_, err := f.Put(t.Context(), k, strings.NewReader("x"), 1, -1)
		expectError(t, name+": Put", err, objects.ErrKey)
		_, err = f.Open(t.Context(), k, 0, -1)
		expectError(t, name+": Open", err, objects.ErrKey)
		_, err = f.Stat(t.Context(), k)
		expectError(t, name+": Stat", err, objects.ErrKey)
		expectError(t, name+": Delete", f.Delete(t.Context(), k), objects.ErrKey)
		if k == "" || k == badKeys["short"] || k == "con" { // beginnings of keys
			continue
		}
		_, err = f.List(t.Context(), k, "", 10)
		expectError(t, name+": List with it as prefix", err, objects.ErrKey)
		_, err = f.List(t.Context(), "", k, 10)
		expectError(t, name+": List after it", err, objects.ErrKey)
	}
	expectRemains(t, f)
	for _, k := range []string{id[:26], id, strings.Repeat("z", 64), strings.Repeat("0", 26)} {
		mustPut(t, f, k, []byte(k))
		expectContent(t, f, k, []byte(k))
	}
}

// What a key's error quotes can go to a log: nothing in it moves the cursor or ends the line.
func TestKeyErrorsAreOneLine(t *testing.T) {
	for name, k := range badKeys {
		err := objects.CheckKey(k)
		if err == nil {
			t.Errorf("%s: %q is a key", name, k)
			continue
		}
		text := err.Error()
		if len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: the error is %d bytes: %.300q, want a short line of ASCII", name, len(text), text)
		}
	}
}
