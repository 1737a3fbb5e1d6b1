"""The tree of commands, and the one place where what they raise becomes a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError

from covm.cli.exits import Exit
from covm.cli.options import common_last
from covm.cli.output import fail, note
from covm.control.failures import ControlError, problem_of
from covm.control.home import UnusableHome
from covm.control.schema import Problem

Commands = Mapping[str, tuple[str, str]]
"""Where each command is, and what it does, by its name."""

HELP = ("--help", "-h")

ALIASES = {"version": ("--version",)}
"""Other names of commands, which people try first."""

ROOT_HELP = """\
A node of a federation of cooperatives: it finds the others, proves who it is, and exchanges signed messages with them,
with no server in the middle.

Begin with `covm demo`, then `covm init` and `covm federation start`.

Exit codes: 0 done, 1 failed, 2 usage, 3 no node running, 4 not found, 5 refused, 6 timed out.
"""

FEDERATION_HELP = """\
Run this node, and talk to it while it runs.

A PEER is a peer id, the beginning of one (also without its 12D3KooW), or the name that a peer goes by or the
beginning of that.
"""

COMMANDS = {
    "init": ("initialise:init", "Make the node's home: its folder, its key, its configuration."),
    "demo": ("demo:demo", "Show what covm does: two nodes on this machine and a proposal that travels between them."),
    "version": ("versions:version", "Print the version of covm."),
}

IDENTITY_COMMANDS = {
    "show": ("identity:show", "Show whose key the node has, and whether it is encrypted."),
    "log": ("member_identity:show_log", "List the entries of the member's identity log."),
    "export": ("member_identity:export", "Write the member's identity to a file."),
    "import": ("member_identity:import_", "Take the member's identity from a file."),
    "rotate": ("identity_keys:rotate", "Let the member's next key sign for it."),
    "recover": ("identity_keys:recover", "Give the member new keys with its recovery key."),
    "rename": ("identity_name:rename", "Give the member another name."),
    "request": ("identity_nodes:request", "Ask for this node to be one of a member's."),
    "add-node": ("identity_nodes:add_node", "Make a node one of the member's."),
    "remove-node": ("node_removal:remove_node", "Take a node away from the member."),
    "approvals": ("node_removal:approvals", "List what the member's nodes have approved, and when."),
    "passphrase": ("identity:passphrase", "Encrypt the key with a passphrase, change that, or remove it."),
}

STORE_COMMANDS = {
    "check": ("store:check", "Read everything in the store, and say what is wrong with it."),
    "backup": ("store:backup", "Write an encrypted backup, also while the node runs."),
    "restore": ("store:restore", "Make a home from a backup."),
}

CONFIG_COMMANDS = {
    "show": ("configuration:show", "Show every setting, with its value and where that came from."),
    "check": ("configuration:check", "Check a configuration file, and list everything that is wrong with it."),
}

FEDERATION_COMMANDS = {
    "start": ("lifecycle:start", "Run the node until Ctrl-C, SIGTERM or `covm federation stop`."),
    "stop": ("lifecycle:stop", "Stop the node."),
    "status": ("lifecycle:status", "Show who the node is, where it listens, and how it is."),
    "peers": ("peers:peers", "List the peers that the node knows."),
    "ping": ("peer_details:ping", "Measure the way to a peer, or say why there is none."),
    "connect": ("peers:connect", "Connect to a peer."),
    "disconnect": ("peers:disconnect", "Close every connection to a peer."),
    "ban": ("bans:ban", "Have nothing more to do with a peer, for a time or until it is unbanned."),
    "unban": ("bans:unban", "Lift a ban."),
    "bans": ("bans:bans", "List the bans that stand."),
    "publish": ("messages:publish", "Publish a message to the whole federation."),
    "send-msg": ("sending:send_msg", "Send a message to one peer, and wait for its acknowledgement."),
    "send-file": ("files:send_file", "Send a file of any size to one peer."),
    "transfers": ("files:transfers", "List the files on their way."),
    "messages": ("messages:messages", "Show the messages received lately, with what is in them."),
    "gossip-log": ("logs:gossip_log", "Show what was published and received, and how each was judged."),
    "stats": ("statistics:stats", "Show the node's counters."),
}

RECORD_FILE_COMMANDS = {
    "export": ("record_files:export", "Write all records of a type to a file."),
    "import": ("record_files:import_", "Take the records in such a file."),
}

MEMBER_COMMANDS = {
    "create": ("founding:create", "Found a federation."),
    "join": ("joining:join", "Join a federation with an invite."),
    "invite": ("members:invite", "Make a link that lets somebody in."),
    "members": ("members:members", "List the members of the federation."),
    "requests": ("members:requests", "List what waits for the approval of founders."),
    "approve": ("members:approve", "Approve what waits."),
    "remove": ("members:remove", "Remove a member."),
    "roles": ("members:roles", "List the roles, with what each may do."),
    "whoami": ("members:whoami", "Show whose this node is."),
}

CHARTER_COMMANDS = {
    "sign": ("founding:sign", "Sign a charter for this node's member."),
    "show": ("charters:show", "Show what a charter says, and who has signed it."),
}

TYPE_COMMANDS = {
    "list": ("statistics:types", "List the message types that the node knows."),
    "propose": ("type_rules:propose", "Give types rules of their own, for founders to approve."),
}

OUTBOX_COMMANDS = {
    "list": ("outbox:list_messages", "List them, with what became of them."),
    "show": ("outbox:show", "Show one, and what it waits for."),
    "retry": ("outbox:retry", "Send one anew that has come to its end."),
    "cancel": ("outbox:cancel", "Give one up that is queued."),
}

INBOX_COMMANDS = {
    "list": ("inbox:list_messages", "List them."),
    "show": ("inbox:show", "Show one."),
}

QUARANTINE_COMMANDS = {
    "list": ("quarantine:list_messages", "List them."),
    "show": ("quarantine:show", "Show one, and why it is there."),
    "retry": ("quarantine:retry", "Hand one to its handlers again."),
    "discard": ("quarantine:discard", "Throw one away for good."),
}

RECORD_COMMANDS = {
    "list": ("records:list_entries", "List the entries of a type."),
    "show": ("records:show", "Show one entry, with its versions."),
    "history": ("records:history", "List everything that was ever written of a key."),
    "put": ("records:put", "Write a value."),
    "delete": ("records:delete", "Say that a key has no value any more."),
    "erase": ("records:erase", "Take a value away for good, on every node."),
}

CONFLICT_COMMANDS = {
    "list": ("conflicts:list_conflicts", "List the entries with several versions side by side."),
    "show": ("conflicts:show", "Show the versions of one, side by side."),
    "resolve": ("conflicts:resolve", "Decide: write what replaces them all."),
}

FORK_COMMANDS = {
    "list": ("forks:list_forks", "List who wrote two records at one place of a log."),
    "show": ("forks:show", "Show one, with both records."),
    "export": ("forks:export", "Write the proof of one to a file."),
    "verify": ("forks:verify", "Say who signed two different records, or why a file proves nothing."),
}

SYNC_COMMANDS = {
    "status": ("replicas:status", "Show what this node holds, and how it stands beside each peer."),
    "now": ("syncing:now", "Fetch what connected peers have and this node lacks."),
}

GROUPS: Mapping[tuple[str, ...], tuple[Commands, str]] = {
    (): (COMMANDS, ROOT_HELP),
    ("identity",): (IDENTITY_COMMANDS, "Look after the node's key, and the identity of its member."),
    ("config",): (CONFIG_COMMANDS, "Look at the node's configuration."),
    ("store",): (STORE_COMMANDS, "Look after the store: everything that the node must not lose."),
    ("federation",): ({**MEMBER_COMMANDS, **FEDERATION_COMMANDS, **RECORD_FILE_COMMANDS}, FEDERATION_HELP),
    ("federation", "charter"): (CHARTER_COMMANDS, "The charter that the founders of a federation sign."),
    ("federation", "types"): (TYPE_COMMANDS, "Message types, and what the founders have agreed on about them."),
    ("federation", "outbox"): (OUTBOX_COMMANDS, "Messages that this node sent to single peers."),
    ("federation", "inbox"): (INBOX_COMMANDS, "Messages for this node that are not dealt with yet."),
    ("federation", "records"): (
        RECORD_COMMANDS,
        "Shared data: entries by key, on every node that may read them.",
    ),
    ("federation", "conflicts"): (CONFLICT_COMMANDS, "Entries of shared data that were written by several at once."),
    ("federation", "forks"): (FORK_COMMANDS, "Who has said two things at one place of a log, and the proof of it."),
    ("federation", "sync"): (SYNC_COMMANDS, "How this node and its peers come to the same shared data."),
    ("federation", "quarantine"): (QUARANTINE_COMMANDS, "Messages on which a handler of this node failed for good."),
}
"""Each group of commands by the words that lead to it; a group stands below those that lead to it."""

DEFAULTS = ("list", "status")
"""What a group below `federation` does when it is named alone, where it has one of these."""


def command_tree() -> App:
    """All commands; each is loaded when it is called, or listed in a help page."""
    apps: dict[tuple[str, ...], App] = {}
    for words, (commands, summary) in GROUPS.items():
        name = words[-1] if words else "covm"
        app = App(name=name, help=summary, help_format="markdown", version_flags=[])
        for command, (place, said) in commands.items():
            app.command(f"covm.cli.{place}", name=(command, *ALIASES.get(command, ())), help=said)
        if words:
            apps[words[:-1]].command(app)
        apps[words] = app
    return apps[()]


def with_default(tokens: Sequence[str]) -> list[str]:
    """The tokens with `list`, or what else it is, put in where a group is named alone: `covm federation outbox`."""
    for words, (commands, _) in GROUPS.items():
        default = next((name for name in DEFAULTS if len(words) > 1 and name in commands), None)
        if default is not None and tuple(tokens[: len(words)]) == words:
            rest = common_last(tokens[len(words) :])
            # A type's name is no command: `covm federation sync shop.note`.
            if not rest or (rest[0].startswith("-") and rest[0] not in HELP) or "." in rest[0]:
                return [*words, default, *rest]
            return [*words, *rest]
    return list(tokens)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; whatever goes wrong has been said."""
    as_json = "--json" in arguments
    try:
        outcome = command_tree()(
            with_default(common_last(arguments)), exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        message = f"{_one_line(error)} Try `covm --help`, or `--help` after the command."
        return fail(Problem(kind="invalid", code="usage", message=message), as_json=as_json)
    except (ControlError, UnusableHome) as error:
        return fail(problem_of(error), as_json=as_json)
    except KeyboardInterrupt:
        if "--follow" not in arguments:  # which has no other end
            note("covm: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    return outcome if isinstance(outcome, int) else Exit.DONE


def _one_line(error: CycloptsError) -> str:
    return " ".join(str(error).split())


def _reader_gone() -> int:
    """The reader of our output (`| head`) has what it wanted; there is nobody to say anything to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.DONE
