"""A rule whose output is a directory with files, a subdirectory and a symlink."""

def _folder_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [out],
        arguments = [out.path] + ctx.attr.names,
        command = """
set -eu
# The directory itself is for the action to make, only its parents are there (ACT-22).
mkdir -p "$1"; cd "$1"; shift
mkdir -p more empty
for name; do
  echo "This is $name." > "$name.txt"
  echo "More of $name." > "more/$name.txt"
done
ln -s "$1.txt" latest
""",
        mnemonic = "Folder",
        progress_message = "Writing folder %s" % ctx.label,
    )
    return [DefaultInfo(files = depset([out]))]

folder = rule(
    implementation = _folder_impl,
    attrs = {"names": attr.string_list(mandatory = True)},
)
