module switchover.dev/lab/pause

go 1.26
