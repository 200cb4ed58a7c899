---The language client named "codekin", and what is asked of it.
local M = {}

---The client of a buffer, or any one that runs.
---@param buffer? integer
---@return vim.lsp.Client?
function M.get(buffer)
  return vim.lsp.get_clients({ name = "codekin", bufnr = buffer })[1] or vim.lsp.get_clients({ name = "codekin" })[1]
end

---What is wrong with the program, where it is not there; else nothing.
---@return string?
function M.problem()
  local program = M.program()
  if vim.fn.executable(program) == 0 then
    return ("the server %q is not found: install it with `pipx install codekin`, or see :checkhealth codekin"):format(program)
  end
end

---Tells once, when a file is opened that the server would serve, that its program is not there.
---@param filetype string
function M.warn_if_missing(filetype)
  local served = vim.lsp.is_enabled("codekin") and vim.list_contains(vim.lsp.config.codekin.filetypes or {}, filetype)
  local problem = served and M.problem()
  if problem then
    vim.notify_once(("Codekin: %s."):format(problem), vim.log.levels.WARN)
  end
end

---Asks the server; `answer` is called with the result alone, errors are told to the user.
---@param method string
---@param params table
---@param answer fun(result: any, client: vim.lsp.Client)
function M.request(method, params, answer)
  local client = M.get(vim.api.nvim_get_current_buf())
  if not client then
    local why = M.problem() or "open a file of a project, or see :checkhealth codekin"
    vim.notify(("Codekin does not run here: %s."):format(why), vim.log.levels.WARN)
    return
  end
  client:request(method, params, function(error, result)
    if error then
      vim.notify("Codekin: " .. error.message, vim.log.levels.ERROR)
    else
      answer(result, client)
    end
  end, vim.api.nvim_get_current_buf())
end

---The folder that the commands of the terminal work on.
---@return string
function M.root()
  local client = M.get(vim.api.nvim_get_current_buf())
  return client and client.root_dir or vim.uv.cwd() or "."
end

---The program that was started as the server, for its other commands.
---@return string
function M.program()
  local settings = vim.lsp.config.codekin
  local command = settings and settings.cmd
  return type(command) == "table" and command[1] or "codekin"
end

return M
