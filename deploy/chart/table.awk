# Writes the table of values in README.md out of values.yaml: awk -f table.awk values.yaml
# A default is what is written for a key, and values.yaml itself shows what is longer; a comment that begins with "# --" right above it is its description.
function flush() {
	if (key == "") return
	gsub(/\|/, "\\|", value)
	shown = long || length(value) > 50 ? "[values.yaml](values.yaml)" : value == "" ? "" : "`" value "`"
	long = 0
	if (value != "" || described != "") print "| `" key "` | " shown " | " described " |"
	key = value = described = ""
}
BEGIN { print "| value | default | what it is |"; print "|---|---|---|" }
{
	line = $0
	match(line, /^ */); indent = RLENGTH
	text = substr(line, indent + 1)
	if (text == "") { flush(); comment = ""; next }
	if (text ~ /^# -- /) { if (key != "" && indent <= depth) flush(); comment = substr(text, 6); next }
	if (text ~ /^#/) { if (key != "" && indent <= depth) flush(); if (comment != "") comment = comment " " substr(text, 3); next }
	# What lies deeper than a described map or list, or a list's lines, belongs to it.
	if (key != "" && (indent > depth || text ~ /^- /) && (described != "" || text ~ /^- / || within)) {
		within = long = 1
		value = "…"
		next
	}
	if (key != "" && indent > depth) { key = value = "" }
	flush()
	colon = index(text, ":")
	path[indent] = substr(text, 1, colon - 1)
	name = ""
	for (i = 0; i <= indent; i += 2) name = name (i ? "." : "") path[i]
	key = name; depth = indent; within = 0
	value = substr(text, colon + 1); sub(/^ +/, "", value)
	described = comment; comment = ""
}
END { flush() }
