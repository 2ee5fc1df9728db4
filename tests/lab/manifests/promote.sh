#!/bin/sh
# promote.sh NEW OLD: makes the MariaDB at the address NEW the master, and the one at OLD its replica, if it lives. Whatever runs it has to know
# that the old master doesn't go on by itself where it can't be reached: nobody asks a third vote here.
set -eu
new=$1 old=$2

sql() {
	mariadb --no-defaults --host="$1" --user=admin --password=admin --connect-timeout=2 --batch --skip-column-names --execute="$2"
}

# The old master takes no more writes before the new one takes any; then the new one has got everything.
if sql "$old" "SET GLOBAL read_only = 1"; then
	position=$(sql "$old" "SELECT @@GLOBAL.gtid_current_pos")
	sql "$new" "SELECT MASTER_GTID_WAIT('$position', 10)"
fi
sql "$new" "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0"
sql "$old" "STOP SLAVE; CHANGE MASTER TO MASTER_HOST = '$new', MASTER_USER = 'admin', MASTER_PASSWORD = 'admin',
	MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = current_pos; START SLAVE" || echo "$old is away" >&2
