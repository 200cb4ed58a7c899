---The language client named "codekin", and what is asked of it.
local M = {}

---The client of a buffer, or any one that runs.
---@param buffer? integer
---@return vim.lsp.Client?
function M.get(buffer)
  return vim.lsp.get_clients({ name = "codekin", bufnr = buffer })[1] or vim.lsp.get_clients({ name = "codekin" })[1]
end

---Asks the server; `answer` is called with the result alone, errors are told to the user.
---@param method string
---@param params table
---@param answer fun(result: any, client: vim.lsp.Client)
function M.ask(method, params, answer)
  local client = M.get(vim.api.nvim_get_current_buf())
  if not client then
    vim.notify("Codekin does not run here: open a file of a project, or see :checkhealth codekin.", vim.log.levels.WARN)
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
