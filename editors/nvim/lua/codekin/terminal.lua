---The commands of the terminal that are of use in the editor; their words come in a window below.
local client = require("codekin.client")
local window = require("codekin.window")

local M = {}

---Runs `codekin …` in the project's folder without waiting for it.
---@param arguments string[]
function M.run(arguments)
  local command = vim.list_extend({ client.program() }, arguments)
  local title = table.concat(vim.list_extend({ "codekin" }, arguments), " ")
  local ok, problem = pcall(vim.system, command, { cwd = client.root(), text = true }, function(done)
    vim.schedule(function()
      local words = vim.trim(done.stdout ~= "" and done.stdout or done.stderr)
      if done.code > 1 then
        words = vim.trim(done.stderr ~= "" and done.stderr or done.stdout)
        vim.notify(words, vim.log.levels.ERROR)
      else
        window.show(title, vim.split(words, "\n", { plain = true }))
      end
    end)
  end)
  if not ok then
    vim.notify(("Codekin: %s cannot be started (%s); see :checkhealth codekin."):format(command[1], problem), vim.log.levels.ERROR)
  end
end

return M
