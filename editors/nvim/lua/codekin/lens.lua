---Keeps the lenses "3 similar" of the standard client up to date.
local config = require("codekin.config")

local M = {}

---@param client vim.lsp.Client
---@param buffer integer
function M.attach(client, buffer)
  if not config.values.lens or not client:supports_method("textDocument/codeLens", buffer) then
    return
  end
  if vim.lsp.codelens.enable then
    -- From 0.12 on, Neovim keeps them up to date by itself.
    vim.lsp.codelens.enable(true, { bufnr = buffer })
    return
  end
  local group = vim.api.nvim_create_augroup("codekin.lens." .. buffer, { clear = true })
  vim.api.nvim_create_autocmd({ "BufEnter", "InsertLeave", "BufWritePost" }, {
    group = group,
    buffer = buffer,
    callback = function()
      vim.lsp.codelens.refresh({ bufnr = buffer })
    end,
  })
  vim.lsp.codelens.refresh({ bufnr = buffer })
end

---The index changed: asks again for every visible buffer.
---@param client_id integer
function M.refresh_all(client_id)
  if vim.lsp.codelens.enable then
    return
  end
  local client = vim.lsp.get_client_by_id(client_id)
  for buffer in pairs(config.values.lens and client and client.attached_buffers or {}) do
    if vim.fn.bufwinid(buffer) ~= -1 then
      vim.lsp.codelens.refresh({ bufnr = buffer })
    end
  end
end

return M
