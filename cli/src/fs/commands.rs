//! The commands: what each is called, takes and does. The texts are Hadoop's where its scripts and people know them.

use super::error::Result;
use super::run::Run;
use super::{
    ask, attributes, copy, find, help, list, make, merge, remove, show, snapshots, sums, text,
};

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its name, without the dash.
    pub name: &'static str,
    /// Its options and arguments.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn command(name: &'static str, usage: &'static str, about: &'static str) -> Command {
    Command { name, usage, about }
}

/// All commands, in the order of their names.
pub(super) const COMMANDS: &[Command] = &[
    command(
        "appendToFile",
        "[-n] <localsrc> ... <dst>",
        "Appends the contents of all the given local files to the given dst file. The dst file will be created if it does not exist. If <localSrc> is -, then the input is read from stdin.",
    ),
    command(
        "cat",
        "[-ignoreCrc] <src> ...",
        "Fetch all files that match the file pattern <src> and display their content on stdout.",
    ),
    command(
        "checksum",
        "[-v] <src> ...",
        "Dump checksum information for files that match the file pattern <src> to stdout.",
    ),
    command(
        "chgrp",
        "[-R] GROUP PATH...",
        "This is equivalent to -chown ... :GROUP ...",
    ),
    command(
        "chmod",
        "[-R] <MODE[,MODE]... | OCTALMODE> PATH...",
        "Changes permissions of a file. -R modifies the files recursively. MODE is the same as that used for chmod in a shell, OCTALMODE is three or four digits.",
    ),
    command(
        "chown",
        "[-R] [OWNER][:[GROUP]] PATH...",
        "Changes owner and group of a file. -R modifies the files recursively. If only the owner or group is specified then only the owner or group is modified.",
    ),
    command(
        "copyFromLocal",
        "[-f] [-p] [-l] [-d] [-t <thread count>] [-q <thread pool queue size>] <localsrc> ... <dst>",
        "Identical to the -put command.",
    ),
    command(
        "copyToLocal",
        "[-f] [-p] [-crc] [-ignoreCrc] [-t <thread count>] [-q <thread pool queue size>] <src> ... <localdst>",
        "Identical to the -get command.",
    ),
    command(
        "count",
        "[-q] [-h] [-v] [-u] [-x] [-e] [-s] <path> ...",
        "Count the number of directories, files and bytes under the paths that match the specified file pattern. -q shows quotas as well, -u quotas alone, -h readable sizes, -v a header.",
    ),
    command(
        "cp",
        "[-f] [-p | -p[topax]] [-d] [-t <thread count>] [-q <thread pool queue size>] <src> ... <dst>",
        "Copy files that match the file pattern <src> to a destination. When copying multiple files, the destination must be a directory. -p preserves timestamps, ownership and permission, -f overwrites the destination if it exists.",
    ),
    command(
        "createSnapshot",
        "<snapshotDir> [<snapshotName>]",
        "Create a snapshot on a bucket.",
    ),
    command(
        "deleteSnapshot",
        "<snapshotDir> <snapshotName>",
        "Delete a snapshot from a bucket.",
    ),
    command(
        "df",
        "[-h] [<path> ...]",
        "Shows the capacity, free and used space of the filesystem. -h formats sizes in a human-readable fashion.",
    ),
    command(
        "du",
        "[-s] [-h] [-v] [-x] <path> ...",
        "Show the amount of space, in bytes, used by the files that match the specified file pattern, without and with all replicas. -s shows the total of each argument, -h readable sizes, -v a header.",
    ),
    command(
        "expunge",
        "[-immediate] [-fs <path>]",
        "Delete files from the trash that are older than the retention threshold, and give what was thrown away since the time as its name. -immediate deletes everything in the trash.",
    ),
    command(
        "find",
        "<path> ... <expression> ...",
        "Finds all files that match the specified expression and applies selected actions to them: -name pattern, -iname pattern, -print, -print0, joined by -a.",
    ),
    command(
        "get",
        "[-f] [-p] [-crc] [-ignoreCrc] [-t <thread count>] [-q <thread pool queue size>] <src> ... <localdst>",
        "Copy files that match the file pattern <src> to the local name. When copying multiple files, the destination must be a directory. -f overwrites the destination if it exists, -p preserves timestamps, ownership and the mode.",
    ),
    command(
        "getmerge",
        "[-nl] [-skip-empty-file] <src> <localdst>",
        "Get all the files in the directories that match the source file pattern and merge them to only one file on local fs. -nl adds a newline character at the end of each file, -skip-empty-file leaves empty ones out.",
    ),
    command("head", "<file>", "Show the first 1KB of the file."),
    command(
        "help",
        "[cmd ...]",
        "Displays help for given command or all commands if none is specified.",
    ),
    command(
        "ls",
        "[-C] [-d] [-h] [-q] [-R] [-t] [-S] [-r] [-u] [-e] [<path> ...]",
        "List the contents that match the specified file pattern. -C shows paths only, -d directories as plain files, -h readable sizes, -q ? instead of non-printable characters, -R the contents of directories recursively; -t sorts by modification time (most recent first), -S by size, -r reverses the order, -u uses the time of last access, -e shows the erasure coding policy.",
    ),
    command(
        "mkdir",
        "[-p] <path> ...",
        "Create a directory in specified location. -p does not fail if the directory already exists, and creates parents.",
    ),
    command(
        "moveFromLocal",
        "[-f] [-p] [-l] [-d] <localsrc> ... <dst>",
        "Same as -put, except that the source is deleted after it's copied.",
    ),
    command("moveToLocal", "<src> <localdst>", "Not implemented yet"),
    command(
        "mv",
        "<src> ... <dst>",
        "Move files that match the specified file pattern <src> to a destination <dst>. When moving multiple files, the destination must be a directory.",
    ),
    command(
        "put",
        "[-f] [-p] [-l] [-d] [-t <thread count>] [-q <thread pool queue size>] <localsrc> ... <dst>",
        "Copy files from the local file system into fs. Copying fails if the file already exists, unless the -f flag is given. -p preserves timestamps, ownership and the mode. If <localsrc> is -, the input is read from stdin.",
    ),
    command(
        "renameSnapshot",
        "<snapshotDir> <oldName> <newName>",
        "Rename a snapshot from oldName to newName.",
    ),
    command(
        "rm",
        "[-f] [-r|-R] [-skipTrash] [-safely] <src> ...",
        "Delete all files that match the specified file pattern. -skipTrash bypasses trash, if enabled, -f does not complain about files that do not exist, -[rR] recursively deletes directories.",
    ),
    command(
        "rmdir",
        "[--ignore-fail-on-non-empty] <dir> ...",
        "Removes the directory entry specified by each directory argument, provided it is empty.",
    ),
    command(
        "setrep",
        "[-R] [-w] <rep> <path> ...",
        "Set the replication level of a file, which Ozone does not do: a file is replicated as it was written.",
    ),
    command(
        "stat",
        "[format] <path> ...",
        "Print statistics about the file/directory at <path> in the specified format: permissions in octal (%a) and symbolic (%A), filesize in bytes (%b), type (%F), group name of owner (%g), name (%n), block size (%o), replication (%r), user name of owner (%u), access date (%x, %X), modification date (%y, %Y). %x and %y show UTC date as \"yyyy-MM-dd HH:mm:ss\" and %X and %Y show milliseconds since January 1, 1970 UTC. If the format is not specified, %y is used by default.",
    ),
    command(
        "tail",
        "[-f] [-s <sleep interval>] <file>",
        "Show the last 1KB of the file. -f shows appended data as the file grows, -s says how many milliseconds to sleep in between.",
    ),
    command(
        "test",
        "-[defswrz] <path>",
        "Answer various questions about <path>, with result via exit status: -d it is a directory, -e it exists, -f it is a file, -s it is greater than zero bytes in size, -w write permission is granted, -r read permission is granted, -z it is zero bytes in size.",
    ),
    command(
        "text",
        "[-ignoreCrc] <src> ...",
        "Takes a source file and outputs the file in text format.",
    ),
    command(
        "touch",
        "[-a] [-m] [-t TIMESTAMP (yyyyMMdd:HHmmss) ] [-c] <path> ...",
        "Updates the access and modification times of the file specified by the <path> to the current time. If the file does not exist, then a zero length file is created. -a changes only the access time, -m only the modification time, -t uses the specified timestamp instead of the current time, -c does not create any files.",
    ),
    command(
        "touchz",
        "<path> ...",
        "Creates a file of zero length at <path> with current time as the timestamp of that <path>. An error is returned if the file exists with non-zero length.",
    ),
    command(
        "usage",
        "[cmd ...]",
        "Displays the usage for given command or all commands if none is specified.",
    ),
];

/// The command of that name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Does what a command does with these words.
pub(super) async fn run(command: &Command, run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    match command.name {
        "appendToFile" => merge::append(run, words).await,
        "cat" => show::cat(run, words).await,
        "text" => text::text(run, words).await,
        "checksum" => show::checksum(run, words).await,
        "chgrp" => attributes::chgrp(run, words).await,
        "chmod" => attributes::chmod(run, words).await,
        "chown" => attributes::chown(run, words).await,
        "copyFromLocal" | "put" => copy::put(run, words).await,
        "copyToLocal" | "get" => copy::get(run, words).await,
        "count" => sums::count(run, words).await,
        "cp" => copy::cp(run, words).await,
        "createSnapshot" => snapshots::create(run, words).await,
        "deleteSnapshot" => snapshots::delete(run, words).await,
        "df" => sums::df(run, words).await,
        "du" => sums::du(run, words).await,
        "expunge" => remove::expunge(run, words).await,
        "find" => find::find(run, words).await,
        "getmerge" => merge::getmerge(run, words).await,
        "head" => show::head(run, words).await,
        "help" => help::help(run, words).await,
        "ls" => list::ls(run, words).await,
        "mkdir" => make::mkdir(run, words).await,
        "moveFromLocal" => copy::move_from_local(run, words).await,
        "moveToLocal" => copy::move_to_local(),
        "mv" => copy::mv(run, words).await,
        "renameSnapshot" => snapshots::rename(run, words).await,
        "rm" => remove::rm(run, words).await,
        "rmdir" => remove::rmdir(run, words).await,
        "setrep" => attributes::setrep(run, words).await,
        "stat" => ask::stat(run, words).await,
        "tail" => show::tail(run, words).await,
        "test" => ask::test(run, words).await,
        "touch" => make::touch(run, words).await,
        "touchz" => make::touchz(run, words).await,
        _ => help::usage(run, words).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_the_order_of_their_names() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }
}
