"""What is wrong with an editor's settings is reported by its window alone, and ends when it is put right."""

from codekin.daemon.services.workspaces import OpenWorkspace

WRONG = {"completion": {"enabled": "yes"}, "similar": "no"}


def test_a_wrong_setting_of_an_editor_is_no_problem_of_the_workspace(data, root):
    """A problem of one window's settings is not shown in another on the same folder."""
    workspace = OpenWorkspace(root, data)
    workspace.configure(WRONG)
    assert workspace.settings_problems == ()


def test_a_wrong_setting_of_a_file_is_a_problem_until_it_is_put_right(data, root):
    """The file belongs to all windows, and the next use of the workspace reads it again."""
    workspace = OpenWorkspace(root, data)
    file = root / ".codekin.toml"
    file.write_text("[similar]\nlimit = 'ten'\n")
    workspace.configure({})
    assert any("`similar.limit`" in problem for problem in workspace.settings_problems)
    file.write_text("[similar]\nlimit = 10\n\n")
    workspace.configure({})
    assert workspace.settings_problems == ()
