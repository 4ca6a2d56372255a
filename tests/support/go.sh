# shellcheck shell=bash
# A Go that is new enough for all that the tests build. Sourced, never run, with debian-packages.sh, in the top
# directory of the repository.

readonly GO=1.26

go_is_new_enough() {
	local found
	found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
	# sort -V puts the older first.
	[[ $(printf '%s\n' "go$GO" "$found" | sort -V | head -n 1) == "go$GO" ]]
}

# Puts Debian's Go on PATH where the one that is there is missing or too old. What was unpacked is kept.
find_go() {
	export GOTOOLCHAIN=local
	go_is_new_enough && return
	local dir=$PWD/target/go/debian
	if [[ ! -e $dir/complete ]]; then
		echo "Go $GO is not on PATH: Debian's is downloaded"
		fetch_packages "$dir.new" forky "golang-$GO-go" "golang-$GO-src"
		touch "$dir.new/complete"
		rm -rf "$dir"
		mv "$dir.new" "$dir"
	fi
	export GOROOT=$dir/usr/lib/go-$GO
	export PATH=$GOROOT/bin:$PATH
	go_is_new_enough || die "Debian's Go does not run here: $(go version 2>&1)"
}
