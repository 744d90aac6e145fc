// Renders the chart's templates with Go's own template engine and the few functions of Helm's that they use.
// Takes {"dir", "values", "release", "chart", "kubernetes"} as JSON; prints {file: text}.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/template"
)

func isEmpty(v interface{}) bool {
	truth, ok := template.IsTrue(v)
	return !ok || !truth
}

func indent(n int, s string) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad)
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9./_-]*$`)
var notText = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$`)

func scalar(v interface{}) string {
	if text, ok := v.(string); ok && plain.MatchString(text) && !notText.MatchString(text) {
		return text
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// Block style, as Helm writes it, so that a wrong indent in a template shows.
func toYAML(v interface{}) string {
	var lines []string
	switch node := v.(type) {
	case map[string]interface{}:
		if len(node) == 0 {
			return "{}"
		}
		var keys []string
		for key := range node {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			text := toYAML(node[key])
			if isBlock(node[key]) {
				if _, isMap := node[key].(map[string]interface{}); isMap {
					text = indent(2, text)
				}
				lines = append(lines, scalar(key)+":\n"+text)
			} else {
				lines = append(lines, scalar(key)+": "+text)
			}
		}
	case []interface{}:
		if len(node) == 0 {
			return "[]"
		}
		for _, item := range node {
			lines = append(lines, "- "+strings.TrimPrefix(indent(2, toYAML(item)), "  "))
		}
	default:
		return scalar(v)
	}
	return strings.Join(lines, "\n")
}

func isBlock(v interface{}) bool {
	kind := reflect.ValueOf(v).Kind()
	return (kind == reflect.Map || kind == reflect.Slice) && !isEmpty(v)
}

func main() {
	var input struct {
		Dir, Kubernetes        string
		Values, Release, Chart map[string]interface{}
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(template.FuncMap{
		"include": func(name string, data interface{}) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml":  toYAML,
		"indent":  indent,
		"nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"quote":   func(v interface{}) string { return strconv.Quote(fmt.Sprint(v)) },
		"default": func(standard, v interface{}) interface{} {
			if isEmpty(v) {
				return standard
			}
			return v
		},
		"required": func(message string, v interface{}) (interface{}, error) {
			if isEmpty(v) {
				return nil, errors.New(message)
			}
			return v, nil
		},
		"fail":      func(message string) (string, error) { return "", errors.New(message) },
		"hasPrefix": func(prefix, s string) bool { return strings.HasPrefix(s, prefix) },
		"semverCompare": func(constraint, version string) (bool, error) {
			var least, most [2]int
			if _, err := fmt.Sscanf(constraint, ">=%d.%d-0", &least[0], &least[1]); err != nil {
				return false, errors.New("only >=X.Y-0 is understood: " + constraint)
			}
			if _, err := fmt.Sscanf(version, "v%d.%d", &most[0], &most[1]); err != nil {
				return false, err
			}
			return most[0] > least[0] || most[0] == least[0] && most[1] >= least[1], nil
		},
		"list":       func(items ...interface{}) []interface{} { return items },
		"trunc":      func(n int, s string) string { return s[:min(n, len(s))] },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"int": func(v interface{}) int {
			number, _ := v.(float64)
			return int(number)
		},
	})
	files, _ := filepath.Glob(filepath.Join(input.Dir, "templates", "*"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			_, err = all.New(filepath.Base(file)).Parse(string(text))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	data := map[string]interface{}{
		"Values": input.Values, "Release": input.Release, "Chart": input.Chart,
		"Capabilities": map[string]interface{}{"KubeVersion": map[string]interface{}{"Version": input.Kubernetes}},
	}
	results := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		if err := all.ExecuteTemplate(&out, name, data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		results[name] = out.String()
	}
	json.NewEncoder(os.Stdout).Encode(results)
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
